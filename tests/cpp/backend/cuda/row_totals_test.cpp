#include "backend/cuda/kernels/row_totals.h"

#include "backend/cuda/emulation/host_group.h"
#include "testing.h"

namespace cofactor {
namespace {

class CudaRowTotalsTest : public testing::RandomTest {
 protected:
  std::vector<double> numbers(std::int64_t n) {
    std::vector<double> result(static_cast<std::size_t>(n));
    for (double& value : result) value = random.uniform(0, 1);
    return result;
  }
  /// Ends of blocks that divide `rows`.
  std::vector<std::int64_t> division(std::int64_t rows) {
    std::vector<std::int64_t> ends;
    for (std::int64_t at = 0; at < rows;) {
      ends.push_back(at = std::min(rows, at + random.integer(1, rows)));
    }
    return ends;
  }
};

TEST_F(CudaRowTotalsTest, SumsOfValuesDoNotDependOnTheBlocks) {
  const std::int64_t rows = 1700, count = 3;
  const std::vector<double> values = numbers(rows * count);
  std::vector<double> first;
  for (int repeat = 0; repeat < 4; ++repeat) {
    std::vector<double> lanes(static_cast<std::size_t>(count * cuda::kRowLanes));
    std::vector<double> totals(static_cast<std::size_t>(count));
    std::int64_t begin = 0;
    for (const std::int64_t end : repeat == 0 ? std::vector{rows} : division(rows)) {
      const cuda::SumRowValues kernel{begin, end - begin, values.data() + begin, rows,
                                      lanes.data()};
      cuda::emulation::run_grid(kernel, count, 1, 0);
      begin = end;
    }
    cuda::emulation::run_grid(cuda::AddRowLanes{lanes.data(), totals.data()}, count, 1, 0);
    if (repeat == 0) first = totals;
    EXPECT_TRUE(testing::same_bits_of(totals, first));
    for (std::int64_t v = 0; v < count; ++v) {
      testing::Wide sum = 0;
      for (std::int64_t i = 0; i < rows; ++i) sum += values[static_cast<std::size_t>(v * rows + i)];
      EXPECT_LE(std::abs(totals[static_cast<std::size_t>(v)] - sum),
                testing::gamma<double>(rows) * sum);
    }
  }
}

TEST_F(CudaRowTotalsTest, SquaresByGroupDependOnNeitherBlocksNorShares) {
  for (const int components : {1, 20, 33}) {
    const std::int64_t rows = 300, groups = 7, ld = components + 2;
    std::vector<float> w(static_cast<std::size_t>(rows * ld));
    for (float& value : w) value = static_cast<float>(random.uniform(0, 1));
    const std::vector<double> weight = numbers(rows);
    std::vector<std::int32_t> group;
    for (std::int64_t i = 0; i < rows; ++i) {
      const bool same = !group.empty() && random.chance(0.5);
      group.push_back(same ? group.back() : static_cast<std::int32_t>(random.integer(0, 6)));
    }
    std::vector<double> expected(static_cast<std::size_t>(groups * components));
    for (std::int64_t i = 0; i < rows; ++i) {
      for (int r = 0; r < components; ++r) {
        const auto value = static_cast<double>(w[static_cast<std::size_t>(i * ld + r)]);
        const auto at = static_cast<std::size_t>(i);
        expected[static_cast<std::size_t>(group[at] * components + r)] +=
            weight[at] * value * value;
      }
    }
    for (const int shares : {1, 3, 8}) {
      std::vector<double> squares(expected.size());
      std::int64_t begin = 0;
      for (const std::int64_t end : division(rows)) {
        cuda::SumGroupSquares<float> kernel;
        kernel.rows = end - begin;
        kernel.components = components;
        kernel.w = w.data() + begin * ld;
        kernel.ld_w = ld;
        kernel.weight = weight.data() + begin;
        kernel.group = group.data() + begin;
        kernel.shares = shares;
        kernel.squares = squares.data();
        cuda::emulation::run_grid(kernel, cuda::divide_up(shares, kernel.kWarps),
                                  cuda::divide_up(components, cuda::kWarpSize), 0);
        begin = end;
      }
      EXPECT_TRUE(testing::same_bits_of(squares, expected)) << components << ' ' << shares;
    }
  }
}

}  // namespace
}  // namespace cofactor
