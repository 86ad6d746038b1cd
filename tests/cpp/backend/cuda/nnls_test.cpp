#include "backend/cuda/kernels/nnls.h"

#include <numeric>

#include "backend/cpu/nnls/active_set.h"
#include "backend/cuda/solve_batch.h"

namespace cofactor {
namespace {

using testing::Batch;
using testing::gram_of_any_size;
using testing::Matrix;
using testing::random_gram;
using testing::ScaledGrams;
using testing::solve_batch;
using testing::solve_rows;
using testing::Wide;

class CudaNnlsTest : public testing::CudaNnlsTest {
 protected:
  /// Components of which some are copies, sums or multiples of others, of any size: minimisers are
  /// many.
  Matrix dependent_gram(int rank) {
    const Matrix basis = random_gram(random, rank, 1.0);
    const int k = 2 * rank + 1;
    std::vector<double> size(static_cast<std::size_t>(k));
    for (double& value : size) value = std::pow(10, random.integer(-5, 5));
    const Matrix combination = testing::make_matrix(k, rank, [&](auto r, auto l) {
      const bool in = r < rank ? r == l : r == k - 1 || l == r - rank || random.chance(0.2);
      return in ? size[static_cast<std::size_t>(r)] : 0.0;
    });
    return testing::multiply(testing::multiply(combination, basis),
                             testing::transpose(combination));
  }
  Matrix signed_gram(int k) {
    const Matrix h =
        testing::make_matrix(k, 2 * k, [&](auto, auto) { return random.uniform(-1, 1); });
    return testing::multiply(h, testing::transpose(h));
  }
  static void kill_component(Matrix& gram, std::int64_t dead) {
    for (std::int64_t r = 0; r < gram.rows; ++r) gram(r, dead) = gram(dead, r) = 0;
  }
  template <class T>
  void draw_diagonal(Batch<T>& batch, double size) {
    batch.diagonal.resize(batch.b.size());
    for (T& d : batch.diagonal) {
      d = static_cast<T>(random.chance(0.2) ? 0 : random.uniform(0, size));
    }
  }

  /// How far the objective of a column is above that of the reference method, and how far it may
  /// be. The objective is convex: it is above another point's y by at most g'(x - y) with the
  /// gradient g at x. Where g_r >= x_r >= 0 the violation is x_r, and the term is at most g_r x_r;
  /// elsewhere the violation is |g_r|. So the sum is at most the violation times the sum of the
  /// larger of |g_r| and |x_r - y_r|. On top comes the rounding of the two objectives.
  template <class T>
  static void check_objective(testing::Comparison& comparison, const Batch<T>& batch,
                              std::int64_t i) {
    const Matrix full = batch.full_gram(i);
    const auto k = static_cast<std::size_t>(batch.k);
    std::vector<double> gram(k * k), b = batch.full_rhs(i), x(k), y(k);
    std::vector<double> scale(k);
    for (std::size_t r = 0; r < k; ++r) {
      const auto row = static_cast<std::int64_t>(r);
      const double diagonal = batch.gram(row, row);
      scale[r] = diagonal > 0 ? 1 / std::sqrt(diagonal) : 0;
      x[r] = diagonal > 0 ? batch.get(batch.x, row, i) / scale[r] : 0;
      b[r] *= scale[r];
    }
    for (std::size_t r = 0; r < k; ++r) {
      for (std::size_t l = 0; l < k; ++l) {
        gram[r * k + l] =
            full(static_cast<std::int64_t>(r), static_cast<std::int64_t>(l)) * scale[r] * scale[l];
      }
      if (scale[r] == 0) gram[r * k + r] = 1;
    }
    y = x;
    cpu::ActiveSetSolver(gram.data(), batch.k).solve(b.data(), y.data());
    const auto gradient = [&](const std::vector<double>& at, std::size_t r) {
      Wide sum = -b[r];
      for (std::size_t l = 0; l < k; ++l) sum += Wide{gram[r * k + l]} * at[l];
      return sum;
    };
    Wide above = 0, size = 0, magnitude = 0;
    for (std::size_t r = 0; r < k; ++r) {
      const Wide g = gradient(x, r);
      above += (g - b[r]) * x[r] / 2 - (gradient(y, r) - b[r]) * y[r] / 2;
      for (const auto* at : {&x, &y}) {
        Wide sum = std::abs(b[r]);
        for (std::size_t l = 0; l < k; ++l) sum += std::abs(Wide{gram[r * k + l]} * (*at)[l]);
        magnitude += sum * (*at)[r];
      }
      size += std::max(std::abs(g), std::abs(Wide{x[r]} - y[r]));
    }
    const Wide bound = batch.optimality_of(i, 0).allowed * size +
                       testing::gamma<Wide>(2 * batch.k + 4) * magnitude;
    comparison.check(std::max(above, Wide{0}), 0, bound, "objective of column", i);
  }

  template <class T>
  static void expect_solved(const Batch<T>& batch) {
    expect_optimal(batch);
    testing::Comparison comparison;
    for (std::int64_t i = 0; i < batch.count; ++i) check_objective(comparison, batch, i);
    EXPECT_TRUE(comparison.result()) << "k = " << batch.k;
  }
};

TEST_F(CudaNnlsTest, EveryNumberOfComponents) {
  std::vector<int> ranks(40);
  std::iota(ranks.begin(), ranks.end(), 1);
  for (const int k : {63, 64, 65, 127, 128, 129, 255, 256, 257, 512}) ranks.push_back(k);
  both_types([&](auto zero) {
    for (const int k : ranks) {
      Batch<decltype(zero)> batch(gram_of_any_size(random, k), k <= 65 ? 5 : k <= 257 ? 2 : 1);
      batch.draw_b(random);
      solve_batch(batch);
      expect_optimal(batch);
    }
  });
}

TEST_F(CudaNnlsTest, AThousandRandomAndDegenerateProblems) {
  both_types([&](auto zero) {
    using T = decltype(zero);
    for (int repeat = 0; repeat < 63; ++repeat) {
      const int k = static_cast<int>(random.integer(1, 24));
      Matrix gram = repeat % 3 == 0   ? random_gram(random, k, std::pow(10, random.integer(-3, 0)))
                    : repeat % 3 == 1 ? dependent_gram(static_cast<int>(random.integer(1, 12)))
                                      : signed_gram(k);
      if (random.chance(0.3)) kill_component(gram, random.integer(0, gram.rows - 1));
      Batch<T> batch(gram, 8);
      batch.draw_b(random);
      for (T& value : batch.x)
        value = static_cast<T>(random.chance(0.5) ? random.uniform(0, 1) : 0);
      batch.warm = random.chance(0.5);
      if (random.chance(0.3)) batch.shift = static_cast<T>(random.uniform(0, 0.2));
      if (random.chance(0.3)) draw_diagonal(batch, std::pow(10, random.integer(-3, 4)));
      // A right-hand side of zeros, and one without a positive number, both solved by 0.
      for (int r = 0; r < batch.k; ++r) {
        batch.at(batch.b, r, 0) = batch.shift;
        batch.at(batch.b, r, 1) = -std::abs(batch.at(batch.b, r, 1));
      }
      solve_batch(batch);
      expect_solved(batch);
    }
  });
}

TEST_F(CudaNnlsTest, DataOfAnySize) {
  // Squares of these are beyond the range of the type.
  both_types([&](auto zero) {
    using T = decltype(zero);
    const double size = sizeof(T) == 4 ? 1e25 : 1e200;
    for (const double factor : {size, 1 / size}) {
      Batch<T> batch(random_gram(random, 12, 1.0), 5);
      batch.draw_b(random);
      for (T& value : batch.b) value *= static_cast<T>(factor);
      solve_batch(batch);
      expect_optimal(batch);
    }
  });
}

TEST_F(CudaNnlsTest, AnEnormousDiagonalGivesZeroAndNotNan) {
  both_types([&](auto zero) {
    using T = decltype(zero);
    Batch<T> batch(random_gram(random, 3, 1.0), 20);
    batch.draw_b(random);
    batch.diagonal.assign(batch.b.size(), std::numeric_limits<T>::max());
    solve_batch(batch);
    const double bound = 1e3 / double{std::numeric_limits<T>::max()} * 1e3;
    for (const T value : batch.x) EXPECT_LE(std::abs(value), bound);
  });
}

TEST_F(CudaNnlsTest, WhatIsNoNumberEnds) {
  both_types([&](auto zero) {
    using T = decltype(zero);
    Batch<T> batch(random_gram(random, 20, 1.0), 9);
    batch.draw_b(random);
    Batch<T> without = batch;
    for (int r = 0; r < batch.k; ++r) {
      batch.at(batch.b, r, 4) = std::numeric_limits<T>::quiet_NaN();
    }
    solve_batch(batch);
    solve_batch(without);
    for (std::int64_t i = 0; i < batch.count; ++i) {
      for (int r = 0; r < batch.k && i != 4; ++r) {
        EXPECT_TRUE(testing::same_bits(batch.at(batch.x, r, i), without.at(without.x, r, i)));
      }
    }
  });
}

TEST_F(CudaNnlsTest, MostRowsNeedNoOtherMethod) {
  both_types([&](auto zero) {
    for (const int k : {5, 20, 64, 128}) {
      Batch<decltype(zero)> batch(random_gram(random, k, 1.0), 8);
      batch.draw_b(random);
      EXPECT_EQ(solve_batch(batch), 0) << "k = " << k;
    }
  });
}

TEST_F(CudaNnlsTest, NearlyEqualComponentsAreLeftToTheOtherMethod) {
  both_types([&](auto zero) {
    std::int64_t left = 0;
    for (int repeat = 0; repeat < 3; ++repeat) {
      Batch<decltype(zero)> batch(random_gram(random, 60, 1e-5), 16);
      batch.draw_b(random);
      left += solve_batch(batch);
      expect_solved(batch);
    }
    EXPECT_GT(left, 0);
  });
}

TEST_F(CudaNnlsTest, ARowsBitsDependOnItselfAlone) {
  both_types([&](auto zero) {
    using T = decltype(zero);
    // Every division of a warp; spreads with and without rows that are left to the other method.
    for (const int k : {3, 12, 20, 30, 40, 70, 130, 300}) {
      const std::int64_t count = k < 50 ? 41 : 5;
      const double spread = k < 50 && random.chance(0.5) ? 0.003 : 0.3;
      Batch<T> batch(k < 100 ? random_gram(random, k, spread) : gram_of_any_size(random, k), count);
      batch.draw_b(random);
      if (random.chance(0.5)) draw_diagonal(batch, 2);
      solve_batch(batch);
      std::vector<std::int64_t> order(static_cast<std::size_t>(count));
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), random.engine());
      order.resize(static_cast<std::size_t>(random.integer(1, 5)));
      Batch<T> part(batch.gram, std::ssize(order));
      if (!batch.diagonal.empty()) part.diagonal.resize(part.b.size());
      for (std::size_t i = 0; i < order.size(); ++i) {
        const auto to = static_cast<std::int64_t>(i);
        for (int r = 0; r < k; ++r) {
          part.at(part.b, r, to) = batch.at(batch.b, r, order[i]);
          if (!part.diagonal.empty()) {
            part.at(part.diagonal, r, to) = batch.at(batch.diagonal, r, order[i]);
          }
        }
      }
      solve_batch(part);
      for (std::size_t i = 0; i < order.size(); ++i) {
        for (int r = 0; r < k; ++r) {
          ASSERT_TRUE(testing::same_bits(part.at(part.x, r, static_cast<std::int64_t>(i)),
                                         batch.at(batch.x, r, order[i])))
              << "component " << r << " of k = " << k;
        }
      }
    }
  });
}

TEST_F(CudaNnlsTest, RowsByPatternWithRightSidesInParts) {
  both_types([&](auto zero) {
    using T = decltype(zero);
    const int k = 21;
    const std::int64_t rows = 13, ld = k + 4, parts = 3, part_size = rows * ld;
    const std::vector<Matrix> views{random_gram(random, k, 1.0), random_gram(random, k, 1.0)};
    // The first view, the second and both, with weights.
    const std::vector<double> weights{0.5, 0, 0, 2, 0.5, 2};
    const ScaledGrams<T> grams(views, weights, 0.1);
    std::vector<T> b(static_cast<std::size_t>(part_size * parts)), sum(b.size()), x(b.size());
    for (T& value : b) value = static_cast<T>(random.uniform(-1, 3));
    std::vector<std::int32_t> pattern;
    for (std::int64_t i = 0; i < rows; ++i) {
      pattern.push_back(static_cast<std::int32_t>(random.integer(0, 2)));
    }
    cuda::NnlsProblem<T> problem;
    problem.rows = rows;
    problem.pattern = pattern.data();
    problem.tolerance = sizeof(T) == 4 ? T(1e-5) : T(1e-10);
    problem.b = sum.data();
    problem.x = x.data();
    problem.ld_b = problem.ld_x = ld;
    solve_rows(problem, {b.data(), static_cast<int>(parts), part_size}, grams);
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto p = 2 * static_cast<std::size_t>(pattern[static_cast<std::size_t>(i)]);
      Batch<T> own(testing::make_matrix(k, k,
                                        [&](auto r, auto l) {
                                          return weights[p] * views[0](r, l) +
                                                 weights[p + 1] * views[1](r, l) +
                                                 (r == l ? 0.1 : 0.0);
                                        }),
                   1);
      for (int r = 0; r < k; ++r) {
        const auto at = static_cast<std::size_t>(i * ld + r);
        const T expected = (b[at] + b[at + static_cast<std::size_t>(part_size)]) +
                           b[at + static_cast<std::size_t>(2 * part_size)];
        EXPECT_TRUE(testing::same_bits(sum[at], expected));
        own.at(own.b, r, 0) = expected;
      }
      solve_batch(own);
      for (int r = 0; r < k; ++r) {
        EXPECT_TRUE(
            testing::same_bits(x[static_cast<std::size_t>(i * ld + r)], own.at(own.x, r, 0)))
            << "row " << i << ", component " << r;
      }
    }
  });
}

}  // namespace
}  // namespace cofactor
