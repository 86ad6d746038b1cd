#include "backend/cpu/nnls_batch.h"

namespace cofactor {
namespace {

using testing::Batch;
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
  // Coordinate descent needs sweeps in proportion to the condition number, hence fewer columns and,
  // in float64, a looser tolerance. Condition numbers are about 1e4 and 1e6.
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : testing::kRanks) {
      for (const double spread : {0.1, 0.01}) {
        if (spread < 0.1 && k > 9) continue;
        Batch<T> batch(random_gram(random, k, spread), 5);
        batch.tolerance = sizeof(T) == 4 ? T(1e-5) : T(1e-7);
        batch.draw_b(random);
        batch.solve(GetParam().level);
        expect_optimal(batch);
      }
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
