#include "backend/cuda/kernels/unit_rows.h"

#include "backend/cuda/emulation/host_group.h"
#include "reference.h"

namespace cofactor {
namespace {

using testing::Matrix;

class CudaUnitRowsTest : public testing::RandomTest {
 protected:
  /// W^T W and W^T X of random factors, and unit rows to start from.
  CudaUnitRowsTest() {
    const Matrix w =
        testing::make_matrix(40, kRank, [&](auto, auto) { return random.uniform(0, 1); });
    const Matrix x =
        testing::make_matrix(40, kColumns, [&](auto, auto) { return random.uniform(0, 1); });
    c = testing::multiply(testing::transpose(w), w);
    s = testing::multiply(testing::transpose(w), x);
    start = testing::make_matrix(kRank, kColumns, [&](auto, auto) { return random.uniform(0, 1); });
    for (int r = 0; r < kRank; ++r) {
      double square = 0;
      for (int j = 0; j < kColumns; ++j) square += start(r, j) * start(r, j);
      for (int j = 0; j < kColumns; ++j) start(r, j) /= std::sqrt(square);
    }
  }

  struct Result {
    Matrix h;
    int sweeps = 0;  ///< until the sweeps ended
  };
  Result run(int sweeps, double least_move) {
    Result result{start, sweeps};
    std::vector<double> t(kColumns), moved(kRank * 3);
    std::vector<cuda::UnitPart> parts(3);
    int ended = 0;
    cuda::UnitRows<double> rows;
    rows.columns = kColumns;
    rows.rank = kRank;
    rows.c = c.values.data();
    rows.ld_c = kRank;
    rows.s = s.values.data();
    rows.ld_s = rows.ld_h = kColumns;
    rows.h = result.h.values.data();
    rows.t = t.data();
    rows.parts = parts.data();
    rows.moved = moved.data();
    rows.ended = &ended;
    for (int sweep = 0; sweep < sweeps; ++sweep) {
      for (int r = 0; r < kRank; ++r) {
        using Find = cuda::FindUnitRow<double>;
        using Move = cuda::MoveUnitRow<double>;
        cuda::emulation::run_grid(Find{rows, r}, rows.blocks(), 1, Find::kSharedBytes);
        cuda::emulation::run_grid(Move{rows, r}, rows.blocks(), 1, Move::kSharedBytes);
      }
      cuda::emulation::run_grid(cuda::EndUnitSweep<double>{rows, least_move}, 1, 1, 0);
      if (ended != 0) result.sweeps = std::min(result.sweeps, sweep + 1);
    }
    return result;
  }

  /// The same steps in long double.
  Matrix expected(int sweeps) const {
    Matrix h = start;
    for (int sweep = 0; sweep < sweeps; ++sweep) {
      for (int r = 0; r < kRank; ++r) {
        if (c(r, r) <= 0) continue;
        std::vector<testing::Wide> t(kColumns);
        testing::Wide square = 0;
        int best = 0;
        for (int j = 0; j < kColumns; ++j) {
          testing::Wide& value = t[static_cast<std::size_t>(j)];
          value = s(r, j);
          for (int l = 0; l < kRank; ++l) {
            if (l != r) value -= testing::Wide{c(r, l)} * h(l, j);
          }
          if (value > 0) square += value * value;
          if (value > t[static_cast<std::size_t>(best)]) best = j;
        }
        for (int j = 0; j < kColumns; ++j) {
          const testing::Wide value = std::max(t[static_cast<std::size_t>(j)], testing::Wide{0});
          h(r, j) = static_cast<double>(square > 0 ? value / std::sqrt(square)
                                                   : testing::Wide(j == best));
        }
      }
    }
    return h;
  }
  /// One row's t is a sum of kRank terms of either sign, of which few digits cancel on this data:
  /// entries of C and S are at most 40, t in the hundreds at least, and every sweep adds as much.
  static void expect_near(const Matrix& a, const Matrix& b) {
    testing::Comparison comparison;
    for (int r = 0; r < kRank; ++r) {
      for (int j = 0; j < kColumns; ++j) comparison.check(a(r, j), b(r, j), 1e-9, r, j);
    }
    EXPECT_TRUE(comparison.result());
  }

  static constexpr int kRank = 5, kColumns = 2 * cuda::kUnitColumns + 77;
  Matrix c, s, start;
};

TEST_F(CudaUnitRowsTest, FollowTheRowsRule) {
  for (const int sweeps : {1, 2, 3}) expect_near(run(sweeps, 0).h, expected(sweeps));
}

TEST_F(CudaUnitRowsTest, ARowWithoutAPositiveEntryIsItsFirstLargestAlone) {
  for (int j = 0; j < kColumns; ++j) s(2, j) = -1e4;
  // Equal entries in two blocks: the first counts.
  for (const int j : {700, 900}) {
    s(2, j) = -10;
    for (int l = 0; l < kRank; ++l) start(l, j) = 0;
    for (int l = 0; l < kRank; ++l) {
      if (l != 2) s(l, j) = -1;
    }
  }
  const Matrix h = run(1, 0).h;
  for (int j = 0; j < kColumns; ++j) EXPECT_EQ(h(2, j), j == 700 ? 1 : 0) << j;
}

TEST_F(CudaUnitRowsTest, ADeadComponentStaysAsItIs) {
  for (int l = 0; l < kRank; ++l) c(3, l) = c(l, 3) = 0;
  const Matrix h = run(2, 0).h;
  for (int j = 0; j < kColumns; ++j) EXPECT_EQ(h(3, j), start(3, j));
  expect_near(h, expected(2));
}

TEST_F(CudaUnitRowsTest, SweepsEndWhereNoRowMovesFar) {
  EXPECT_EQ(run(3, 0).sweeps, 3);
  const Result once = run(3, 10.0);
  EXPECT_EQ(once.sweeps, 1);
  EXPECT_TRUE(testing::same_bits_of(once.h.values, run(1, 0).h.values));
}

}  // namespace
}  // namespace cofactor
