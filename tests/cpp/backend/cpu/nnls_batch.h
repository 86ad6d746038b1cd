#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "backend/cpu/nnls/solver.h"
#include "reference.h"

namespace cofactor::testing {

/// Gram matrix of k random non-negative rows. `spread` is how far the rows differ: 1 for
/// independent rows, small for nearly collinear ones.
inline Matrix random_gram(Random& random, int k, double spread) {
  const std::int64_t columns = std::min(3 * k, k + 256);
  const Matrix common = make_matrix(1, columns, [&](auto, auto) { return random.uniform(0, 1); });
  std::vector<double> size(static_cast<std::size_t>(k));
  for (double& value : size) value = std::exp(random.uniform(-3, 3));
  const Matrix h = make_matrix(k, columns, [&](auto r, auto j) {
    const double own = j == r || random.chance(0.5) ? random.uniform(0.1, 1) : 0;
    return size[static_cast<std::size_t>(r)] * ((1 - spread) * common(0, j) + spread * own);
  });
  Matrix gram(k, k);
  for (std::int64_t r = 0; r < k; ++r) {
    const double* const row = h.values.data() + r * columns;
    for (std::int64_t l = 0; l <= r; ++l) {
      gram(r, l) = gram(l, r) =
          std::inner_product(row, row + columns, h.values.data() + l * columns, 0.0);
    }
  }
  return gram;
}

/// One batch of problems that share a Gram matrix, k x count.
template <class T>
struct Batch {
  Batch(Matrix gram_, std::int64_t count_)
      : k(int(gram_.rows)), count(count_), gram(std::move(gram_)) {
    scaled.assign(gram.values.data(), k, k, 0.0);
    b.resize(static_cast<std::size_t>(k * count));
    x.resize(b.size());
  }
  /// b = G times non-negative numbers, plus noise, so that some coordinates end at 0.
  void draw_b(Random& random) {
    for (std::int64_t i = 0; i < count; ++i) {
      std::vector<double> from(static_cast<std::size_t>(k));
      for (double& value : from) value = random.chance(0.6) ? random.uniform(0, 1) : 0;
      for (int r = 0; r < k; ++r) {
        double sum = 0;
        for (int l = 0; l < k; ++l) sum += gram(r, l) * from[static_cast<std::size_t>(l)];
        at(b, r, i) = static_cast<T>(sum + random.uniform(-0.3, 0.3) * std::sqrt(gram(r, r)));
      }
    }
  }
  T& at(std::vector<T>& values, std::int64_t r, std::int64_t i) const {
    return values[static_cast<std::size_t>(r * count + i)];
  }
  double get(const std::vector<T>& values, std::int64_t r, std::int64_t i) const {
    return values[static_cast<std::size_t>(r * count + i)];
  }

  void solve(Level level) {
    cpu::NnlsArgs<T> args;
    args.count = count;
    args.b = b.data();
    args.ldb = count;
    args.shift = shift;
    args.diagonal = diagonal.empty() ? nullptr : diagonal.data();
    args.ld_diagonal = count;
    args.x = x.data();
    args.ldx = count;
    args.warm = warm;
    args.sweeps = sweeps;
    cpu::NnlsSolver<T>(level, double{tolerance}, max_exchanges).solve(args, scaled);
  }

  /// G + diag(d) of column i, and b - shift.
  [[nodiscard]] Matrix full_gram(std::int64_t i) const {
    Matrix result = gram;
    for (int r = 0; r < k && !diagonal.empty(); ++r) result(r, r) += get(diagonal, r, i);
    return result;
  }
  [[nodiscard]] std::vector<double> full_rhs(std::int64_t i) const {
    std::vector<double> result;
    for (int r = 0; r < k; ++r) result.push_back(get(b, r, i) - double{shift});
    return result;
  }

  /// Rounding, in units of T: the scaled matrix and b are off by 3 and 4, a gradient of k terms and
  /// the step by k + 4, x by 2 when it is scaled back.
  [[nodiscard]] Optimality optimality_of(std::int64_t i) const {
    return optimality_of(i, gamma<T>(k + 13));
  }
  [[nodiscard]] Optimality optimality_of(std::int64_t i, Wide rounding) const {
    std::vector<double> d, right, solution;
    for (int r = 0; r < k; ++r) {
      if (!diagonal.empty()) d.push_back(get(diagonal, r, i));
      right.push_back(get(b, r, i));
      solution.push_back(get(x, r, i));
    }
    return optimality(gram, d, right, shift, solution, tolerance, rounding);
  }

  int k;
  std::int64_t count;
  Matrix gram;
  cpu::ScaledGram<T> scaled;
  std::vector<T> b, x, diagonal;
  T shift = 0;
  T tolerance = sizeof(T) == 4 ? T(1e-5) : T(1e-10);
  bool warm = false;
  int sweeps = 0;
  int max_exchanges = 10;
};

class NnlsTest : public KernelTest {
 protected:
  template <class T>
  static void expect_optimal(const Batch<T>& batch) {
    Comparison comparison;
    for (std::int64_t i = 0; i < batch.count; ++i) {
      const Optimality found = batch.optimality_of(i);
      comparison.check(found.violation, 0, found.allowed, "column", i);
      for (int r = 0; r < batch.k; ++r) {
        // Written so that NaN fails.
        if (!(batch.get(batch.x, r, i) >= 0)) comparison.check(batch.get(batch.x, r, i), 0, -1, r);
      }
    }
    EXPECT_TRUE(comparison.result()) << "k = " << batch.k << ", " << batch.count << " columns";
  }

  /// By the measure alone, for problems whose gradients lose nothing to cancellation.
  template <class T>
  static void expect_within_tolerance(const Batch<T>& batch) {
    Comparison comparison;
    for (std::int64_t i = 0; i < batch.count; ++i) {
      const Optimality found = batch.optimality_of(i, 0);
      comparison.check(found.violation, 0, found.allowed, "column", i);
    }
    EXPECT_TRUE(comparison.result()) << "k = " << batch.k << ", " << batch.count << " columns";
  }

  /// For a strongly convex problem of convexity m and smoothness L, a point of natural residual e
  /// is within (1 + L) / m ||e|| of the solution (Pang 1987), here in the scaled problem.
  template <class T>
  static Wide distance_bound(const Batch<T>& batch, std::int64_t i) {
    const Matrix g = batch.full_gram(i);
    const Matrix unit = make_matrix(batch.k, batch.k, [&](auto r, auto l) {
      return g(r, l) / std::sqrt(batch.gram(r, r) * batch.gram(l, l));
    });
    const auto [low, high] = eigenvalue_range(unit);
    return (1 + high) / low * std::sqrt(Wide(batch.k)) * batch.optimality_of(i).allowed;
  }

  template <class T>
  static void expect_enumerated_solution(const Batch<T>& batch) {
    Comparison comparison;
    for (std::int64_t i = 0; i < batch.count; ++i) {
      const auto exact = nnls_by_enumeration(batch.full_gram(i), batch.full_rhs(i));
      const Wide bound = distance_bound(batch, i);
      for (int r = 0; r < batch.k; ++r) {
        const Wide root = std::sqrt(Wide{batch.gram(r, r)});
        comparison.check(root * batch.get(batch.x, r, i), root * exact[std::size_t(r)], bound,
                         "component", r, "column", i);
      }
    }
    EXPECT_TRUE(comparison.result()) << "k = " << batch.k;
  }
};

}  // namespace cofactor::testing
