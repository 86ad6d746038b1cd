#include "backend/cpu/nnls_batch.h"

namespace cofactor {
namespace {

using testing::Batch;
using testing::Matrix;
using testing::random_gram;

class NnlsTest : public testing::NnlsTest {};

TEST_P(NnlsTest, EnumeratedSolutionsOfSmallProblems) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (int k = 1; k <= 8; ++k) {
      for (const double spread : {1.0, 0.3}) {
        Batch<T> batch(random_gram(random, k, spread), random.pick(std::vector<int>{1, 7, 16, 37}));
        batch.draw_b(random);
        batch.solve(GetParam().level);
        expect_optimal(batch);
        expect_enumerated_solution(batch);
      }
    }
  });
}

TEST_P(NnlsTest, OptimalityOfWellConditionedProblems) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : testing::kRanks) {
      for (const std::int64_t count : {1, 3, 8, 15, 17, 33, 65}) {
        Batch<T> batch(random_gram(random, k, 1.0), count);
        batch.draw_b(random);
        batch.solve(GetParam().level);
        expect_optimal(batch);
      }
    }
  });
}

TEST_P(NnlsTest, OptimalityOfIllConditionedProblems) {
  // Condition numbers are about 1e4, 1e6 and 1e8.
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : testing::kRanks) {
      for (const double spread : {0.1, 0.01, 0.001}) {
        Batch<T> batch(random_gram(random, k, spread), 5);
        batch.draw_b(random);
        batch.solve(GetParam().level);
        expect_optimal(batch);
      }
    }
  });
}

TEST_P(NnlsTest, WithinTheToleranceWithoutAllowanceForRounding) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : {1, 9, 20, 40, 100}) {
      for (const double spread : {1.0, 0.1, 0.01}) {
        Batch<T> batch(random_gram(random, k, spread), random.integer(1, 40));
        batch.draw_b(random);
        batch.solve(GetParam().level);
        expect_within_tolerance(batch);
      }
    }
    for (const int k : {257, 512}) {
      Batch<T> batch(random_gram(random, k, 0.3), 3);
      batch.draw_b(random);
      batch.solve(GetParam().level);
      expect_within_tolerance(batch);
    }
  });
}

TEST_P(NnlsTest, DependentComponents) {
  // Copies, sums of others, and multiples of any size, so that minimisers are many.
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int rank : {1, 2, 5, 12, 30}) {
      const Matrix basis = random_gram(random, rank, 1.0);
      const int k = 2 * rank + 1;
      std::vector<double> size(static_cast<std::size_t>(k));
      for (double& value : size) value = std::pow(10, random.integer(-5, 5));
      const Matrix combination = testing::make_matrix(k, rank, [&](auto r, auto l) {
        const bool in = r < rank ? r == l : r == k - 1 || l == r - rank || random.chance(0.2);
        return in ? size[static_cast<std::size_t>(r)] : 0.0;
      });
      Batch<T> batch(
          testing::multiply(testing::multiply(combination, basis), testing::transpose(combination)),
          21);
      batch.draw_b(random);
      batch.solve(GetParam().level);
      expect_within_tolerance(batch);
    }
  });
}

TEST_P(NnlsTest, ComponentsThatPullTogetherAndApart) {
  // Factors of both signs: a Gram matrix with negative entries.
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : {2, 5, 8, 20, 50}) {
      const Matrix h =
          testing::make_matrix(k, 2 * k, [&](auto, auto) { return random.uniform(-1, 1); });
      Batch<T> batch(testing::multiply(h, testing::transpose(h)), 19);
      batch.draw_b(random);
      batch.solve(GetParam().level);
      expect_optimal(batch);
      if (k <= 8) expect_enumerated_solution(batch);
    }
  });
}

TEST_P(NnlsTest, WhatARoundLeavesIsFinishedOtherwise) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : {3, 20, 50}) {
      Batch<T> batch(random_gram(random, k, 0.3), 40);
      batch.max_exchanges = 1;
      batch.draw_b(random);
      batch.solve(GetParam().level);
      expect_within_tolerance(batch);
    }
  });
}

TEST_P(NnlsTest, ADiagonalPerColumnAndAShift) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : {1, 2, 3, 5, 8, 20, 33}) {
      for (const double size : {1e-3, 1.0, 1e4}) {
        Batch<T> batch(random_gram(random, k, 1.0), 37);
        batch.draw_b(random);
        batch.shift = static_cast<T>(random.uniform(0, 0.2));
        batch.diagonal.resize(batch.b.size());
        for (T& d : batch.diagonal)
          d = static_cast<T>(random.chance(0.2) ? 0 : random.uniform(0, size));
        batch.solve(GetParam().level);
        expect_optimal(batch);
        if (k <= 8) expect_enumerated_solution(batch);
      }
    }
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(NnlsTest);

}  // namespace
}  // namespace cofactor
