#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "backend/cpu/nnls_batch.h"
#include "backend/cuda/emulation/host_group.h"
#include "backend/cuda/kernels/finish_nnls.h"
#include "backend/cuda/kernels/nnls.h"
#include "backend/cuda/kernels/scale_gram.h"

namespace cofactor::testing {

/// A Gram matrix that costs little to make: of rows with one direction in common and one each.
inline Matrix gram_of_any_size(Random& random, int k) {
  std::vector<double> common(static_cast<std::size_t>(k)), size(common.size());
  for (double& value : common) value = random.uniform(0.2, 1);
  for (double& value : size) value = std::exp(random.uniform(-3, 3));
  return make_matrix(k, k, [&](auto row, auto column) {
    const auto r = static_cast<std::size_t>(row), l = static_cast<std::size_t>(column);
    return size[r] * size[l] * (common[r] * common[l] + (r == l ? 1.0 : 0.0));
  });
}

/// Scaled Gram matrices, as the kernels read them.
template <class T>
struct ScaledGrams {
  /// Of every pattern: the sum of the matrices times its weights.
  ScaledGrams(const std::vector<Matrix>& grams, const std::vector<double>& weights, double ridge)
      : k(static_cast<int>(grams[0].rows)), stride(cuda::nnls_gram_stride(k)) {
    std::vector<double> all;
    for (const Matrix& g : grams) all.insert(all.end(), g.values.begin(), g.values.end());
    const std::size_t patterns = weights.size() / grams.size();
    const std::size_t rows = patterns * static_cast<std::size_t>(k);
    exact.resize(rows * static_cast<std::size_t>(stride));
    rounded = AlignedBuffer<T>(exact.size());
    exact_scale.resize(rows);
    scale.resize(rows);
    row_sum.resize(rows);
    cuda::ScaleGram<T> kernel;
    kernel.k = k;
    kernel.grams = all.data();
    kernel.ld = k;
    kernel.count = static_cast<int>(grams.size());
    kernel.stride = std::int64_t{k} * k;
    kernel.weight = weights.data();
    kernel.ridge = ridge;
    kernel.gram_stride = stride;
    kernel.gram = exact.data();
    kernel.inv_sqrt_diag = exact_scale.data();
    kernel.rounded_gram = rounded.data();
    kernel.rounded_inv_sqrt_diag = scale.data();
    kernel.row_sum = row_sum.data();
    cuda::emulation::run_grid(kernel, cuda::divide_up(k, kernel.kWarps),
                              static_cast<std::int64_t>(patterns), 0);
  }

  int k;
  std::int64_t stride;
  std::vector<double> exact, exact_scale;
  AlignedBuffer<T> rounded;
  std::vector<T> scale, row_sum;
};

/// Runs both kernels over a problem that has all but the matrices; returns the rows that SolveNnls
/// left unfinished.
template <class T>
std::int64_t solve_rows(cuda::NnlsProblem<T> problem, const cuda::Parts<T>& parts,
                        const ScaledGrams<T>& grams, bool greedy = true) {
  std::vector<unsigned char> unfinished(static_cast<std::size_t>(problem.rows), 1);
  problem.k = grams.k;
  problem.gram = grams.rounded.data();
  problem.gram_stride = grams.stride;
  problem.inv_sqrt_diag = grams.scale.data();
  problem.row_sum = grams.row_sum.data();
  problem.unfinished = unfinished.data();
  if (greedy) {
    cuda::with_nnls_shape(grams.k, [&](auto shape) {
      using Kernel = cuda::SolveNnls<T, decltype(shape)>;
      const Kernel kernel{problem, parts};
      cuda::emulation::run_grid(kernel, cuda::divide_up(problem.rows, Kernel::kRowsOfBlock), 1, 0);
    });
  }
  const std::int64_t left = std::count(unfinished.begin(), unfinished.end(), 1);
  cuda::FinishNnls<T> finish;
  finish.problem = problem;
  finish.gram = grams.exact.data();
  finish.inv_sqrt_diag = grams.exact_scale.data();
  finish.blocks = 2;
  std::vector<double> workspace(static_cast<std::size_t>(finish.blocks * finish.kWarps *
                                                         cuda::finish_nnls_workspace(grams.k)));
  finish.workspace = workspace.data();
  cuda::emulation::run_grid(finish, finish.blocks, 1, 0);
  return left;
}

/// Solves the columns of a batch, each as a row; returns how many SolveNnls left unfinished.
template <class T>
std::int64_t solve_batch(Batch<T>& batch, bool greedy = true) {
  const ScaledGrams<T> grams({batch.gram}, {1.0}, 0.0);
  const auto rows_of = [&](const std::vector<T>& columns) {
    std::vector<T> rows;
    for (std::int64_t i = 0; i < batch.count; ++i) {
      for (int r = 0; r < batch.k; ++r) {
        rows.push_back(columns.empty() ? T{0}
                                       : columns[static_cast<std::size_t>(r * batch.count + i)]);
      }
    }
    return rows;
  };
  std::vector<T> b = rows_of(batch.b), x = rows_of(batch.x), diagonal = rows_of(batch.diagonal);
  std::vector<std::int32_t> group(static_cast<std::size_t>(batch.count));
  std::iota(group.begin(), group.end(), 0);
  cuda::NnlsProblem<T> problem;
  problem.rows = batch.count;
  problem.b = b.data();
  problem.x = x.data();
  problem.ld_b = problem.ld_x = problem.ld_diagonal = batch.k;
  problem.diagonal = batch.diagonal.empty() ? nullptr : diagonal.data();
  problem.group = group.data();
  problem.shift = batch.shift;
  problem.tolerance = batch.tolerance;
  problem.warm = batch.warm;
  const std::int64_t left = solve_rows(problem, {}, grams, greedy);
  for (std::int64_t i = 0; i < batch.count; ++i) {
    for (int r = 0; r < batch.k; ++r) {
      batch.at(batch.x, r, i) = x[static_cast<std::size_t>(i * batch.k + r)];
    }
  }
  return left;
}

class CudaNnlsTest : public RandomTest {
 protected:
  template <class Body>
  static void both_types(const Body& body) {
    body(float{});
    body(double{});
  }
  /// By the measure alone: rounding is the kernels' business.
  template <class T>
  static void expect_optimal(const Batch<T>& batch) {
    Comparison comparison;
    for (std::int64_t i = 0; i < batch.count; ++i) {
      const Optimality found = batch.optimality_of(i, 0);
      comparison.check(found.violation, 0, found.allowed, "column", i);
      for (int r = 0; r < batch.k; ++r) {
        // Written so that NaN fails.
        const double value = batch.get(batch.x, r, i);
        if (!(value >= 0) || (batch.gram(r, r) <= 0 && value > 0)) {
          comparison.check(value, 0, -1, "component", r, "column", i);
        }
      }
    }
    EXPECT_TRUE(comparison.result()) << "k = " << batch.k << ", " << batch.count << " columns";
  }
};

}  // namespace cofactor::testing
