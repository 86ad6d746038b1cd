// Cases that are not about the size of the violation: dead components, signs, starts, neighbours.

#include <numeric>

#include "backend/cpu/nnls_batch.h"

namespace cofactor {
namespace {

using testing::Batch;
using testing::Matrix;
using testing::random_gram;
using testing::Wide;

class NnlsEdgeTest : public testing::NnlsTest {};

TEST_P(NnlsEdgeTest, AnEnormousDiagonalGivesZeroAndNotNan) {
  typed([&](auto zero) {
    using T = decltype(zero);
    Batch<T> batch(random_gram(random, 3, 1.0), 20);
    batch.draw_b(random);
    batch.diagonal.assign(batch.b.size(), std::numeric_limits<T>::max());
    batch.solve(GetParam().level);
    const double bound = 1e3 / double{std::numeric_limits<T>::max()} * 1e3;
    for (const T value : batch.x) EXPECT_LE(std::abs(value), bound);
  });
}

TEST_P(NnlsEdgeTest, AColumnsBitsDependOnItselfAlone) {
  typed([&](auto zero) {
    using T = decltype(zero);
    // On both sides of the rank from which faces are listed; more columns than one batch; spreads
    // with and without columns that float32 leaves to float64.
    for (const int k : {1, 2, 3, 7, 16, 31, 32, 33, 50}) {
      const std::int64_t count = cpu::kNnlsBatch + 13;
      Batch<T> batch(random_gram(random, k, random.chance(0.5) ? 0.3 : 0.003), count);
      batch.draw_b(random);
      const bool diagonal = random.chance(0.5);
      if (diagonal) {
        batch.diagonal.resize(batch.b.size());
        for (T& d : batch.diagonal) d = static_cast<T>(random.uniform(0, 2));
      }
      batch.solve(GetParam().level);

      std::vector<std::int64_t> order(static_cast<std::size_t>(count));
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), random.engine());
      for (const std::int64_t first : {0, 1, 5, 16, 40}) {
        const std::int64_t last = std::min(count, first + random.integer(1, 40));
        Batch<T> part(batch.gram, last - first);
        if (diagonal) part.diagonal.resize(part.b.size());
        for (std::int64_t i = first; i < last; ++i) {
          for (int r = 0; r < k; ++r) {
            const std::int64_t from = order[static_cast<std::size_t>(i)];
            part.at(part.b, r, i - first) = batch.at(batch.b, r, from);
            if (diagonal) part.at(part.diagonal, r, i - first) = batch.at(batch.diagonal, r, from);
          }
        }
        part.solve(GetParam().level);
        for (std::int64_t i = first; i < last; ++i) {
          for (int r = 0; r < k; ++r) {
            ASSERT_TRUE(
                testing::same_bits(part.at(part.x, r, i - first),
                                   batch.at(batch.x, r, order[static_cast<std::size_t>(i)])))
                << "component " << r << " of k = " << k << ", column " << i;
          }
        }
      }
    }
  });
}

TEST_P(NnlsEdgeTest, ADeadComponentStaysZeroAndChangesNothing) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const bool warm : {false, true}) {
      const int k = 6, dead = 2;
      Matrix gram = random_gram(random, k, 1.0);
      for (int r = 0; r < k; ++r) gram(r, dead) = gram(dead, r) = 0;
      Batch<T> batch(gram, 19);
      batch.draw_b(random);
      for (std::int64_t i = 0; i < batch.count; ++i) {
        batch.at(batch.b, dead, i) = static_cast<T>(random.uniform(-1, 1));
      }
      batch.warm = warm;
      for (T& value : batch.x) value = static_cast<T>(random.uniform(0, 1));
      Batch<T> without(
          testing::make_matrix(
              k - 1, k - 1, [&](auto r, auto l) { return gram(r + (r >= dead), l + (l >= dead)); }),
          19);
      for (int r = 0; r < k - 1; ++r) {
        for (std::int64_t i = 0; i < 19; ++i) {
          without.at(without.b, r, i) = batch.at(batch.b, r + (r >= dead), i);
          without.at(without.x, r, i) = batch.at(batch.x, r + (r >= dead), i);
        }
      }
      without.warm = warm;
      batch.solve(GetParam().level);
      without.solve(GetParam().level);
      expect_optimal(batch);
      testing::Comparison comparison;
      for (std::int64_t i = 0; i < batch.count; ++i) {
        EXPECT_EQ(batch.at(batch.x, dead, i), 0);
        const Wide bound = 2 * distance_bound(without, i);
        for (int r = 0; r < k - 1; ++r) {
          const Wide root = std::sqrt(Wide{without.gram(r, r)});
          comparison.check(root * batch.get(batch.x, r + (r >= dead), i),
                           root * without.get(without.x, r, i), bound, r, i);
        }
      }
      EXPECT_TRUE(comparison.result());
    }
  });
}

TEST_P(NnlsEdgeTest, AllComponentsDead) {
  typed([&](auto zero) {
    using T = decltype(zero);
    Batch<T> batch(Matrix(3, 3), 20);
    for (T& value : batch.b) value = static_cast<T>(random.uniform(-1, 1));
    for (T& value : batch.x) value = 1;
    for (const bool warm : {false, true}) {
      batch.warm = warm;
      batch.solve(GetParam().level);
      for (const T value : batch.x) EXPECT_EQ(value, 0);
    }
  });
}

TEST_P(NnlsEdgeTest, WithoutPositiveRightHandSidesTheSolutionIsExactlyZero) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : {1, 3, 17}) {
      Batch<T> batch(random_gram(random, k, 0.3), 21);
      for (T& value : batch.b)
        value = static_cast<T>(random.chance(0.3) ? 0 : random.uniform(-1, 0));
      batch.solve(GetParam().level);
      for (const T value : batch.x) EXPECT_EQ(value, 0);

      // The same through the shift.
      for (T& value : batch.b) value = static_cast<T>(random.uniform(0, 1));
      batch.shift = 1;
      batch.solve(GetParam().level);
      for (const T value : batch.x) EXPECT_EQ(value, 0);
    }
  });
}

TEST_P(NnlsEdgeTest, AWarmStartAtTheSolutionReturnsIt) {
  typed([&](auto zero) {
    using T = decltype(zero);
    // Powers of four: scaling and solution are exact.
    Matrix gram(5, 5);
    for (int r = 0; r < 5; ++r) gram(r, r) = std::ldexp(1.0, 2 * (r - 2));
    Batch<T> exact(gram, 33);
    for (T& value : exact.b) value = static_cast<T>(random.uniform(-1, 1));
    exact.solve(GetParam().level);
    const std::vector<T> solution = exact.x;
    exact.warm = true;
    exact.solve(GetParam().level);
    EXPECT_TRUE(testing::same_bits_of(exact.x, solution));

    for (const int k : {2, 8, 20}) {
      Batch<T> batch(random_gram(random, k, 1.0), 33);
      batch.draw_b(random);
      batch.solve(GetParam().level);
      const Batch<T> cold = batch;
      batch.warm = true;
      batch.solve(GetParam().level);
      expect_optimal(batch);
      testing::Comparison comparison;
      for (std::int64_t i = 0; i < batch.count; ++i) {
        // Both are within their distance of the solution.
        const Wide bound = distance_bound(cold, i) + distance_bound(batch, i);
        for (int r = 0; r < k; ++r) {
          const Wide root = std::sqrt(Wide{batch.gram(r, r)});
          comparison.check(root * batch.get(batch.x, r, i), root * cold.get(cold.x, r, i), bound);
        }
      }
      EXPECT_TRUE(comparison.result());
    }
  });
}

TEST_P(NnlsEdgeTest, AWarmStartFromAnywhereIsOptimal) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : {1, 3, 9, 31}) {
      Batch<T> batch(random_gram(random, k, 0.3), 40);
      batch.draw_b(random);
      batch.warm = true;
      for (T& value : batch.x)
        value = static_cast<T>(random.chance(0.3) ? 0 : random.uniform(0, 10));
      batch.solve(GetParam().level);
      expect_optimal(batch);
    }
  });
}

TEST_P(NnlsEdgeTest, WritesItsColumnsOnly) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const Matrix gram = random_gram(random, 3, 1.0);
    for (std::int64_t count = 0; count <= 35; ++count) {
      Batch<T> batch(gram, 40);
      batch.draw_b(random);
      std::fill(batch.x.begin(), batch.x.end(), T{-9});
      AlignedBuffer<std::byte> scratch(
          static_cast<std::size_t>(cpu::nnls_scratch_size(3, table<T>().lanes, sizeof(T))));
      std::fill_n(scratch.data(), scratch.size(), std::byte{0xff});
      cpu::NnlsArgs<T> args{.k = 3,
                            .count = count,
                            .gram = batch.scaled.rounded.gram.data(),
                            .inv_sqrt_diag = batch.scaled.rounded.inv_sqrt_diag.data(),
                            .row_sum = batch.scaled.rounded.row_sum.data(),
                            .b = batch.b.data(),
                            .ldb = 40,
                            .x = batch.x.data(),
                            .ldx = 40,
                            .tolerance = T(1e-3),
                            .max_exchanges = 100,
                            .scratch = scratch.data()};
      static_cast<void>(table<T>().nnls(args));
      for (int r = 0; r < 3; ++r) {
        for (std::int64_t i = 0; i < 40; ++i) {
          EXPECT_EQ(batch.at(batch.x, r, i) == -9, i >= count) << i << " of " << count;
        }
      }
    }
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(NnlsEdgeTest);

}  // namespace
}  // namespace cofactor
