// Statistics of stored rows.

#include "backend/cuda/kernels/scan_rows.h"

#include "backend/cuda/kernel_tests.h"

namespace cofactor::cuda {
namespace {

template <class Stored>
class ScanRowsTest : public testing::RandomTest {
 protected:
  static std::vector<RowStatistics> scan(const Lines& x, std::int64_t rows, std::int64_t columns) {
    std::vector<RowStatistics> result(static_cast<std::size_t>(rows), RowStatistics{-1, -1, -1});
    ScanRows<Stored> kernel;
    kernel.x = x;
    kernel.rows = rows;
    kernel.columns = columns;
    kernel.statistics = result.data();
    Emulate{}(kernel, divide_up(rows, std::int64_t{kernel.kRows}), 1, kernel.shared_bytes());
    return result;
  }
};
using StoredTypes = ::testing::Types<std::uint8_t, Float16, BFloat16, float, double>;
TYPED_TEST_SUITE(ScanRowsTest, StoredTypes);

TYPED_TEST(ScanRowsTest, CountsEveryNumberOnce) {
  for (const auto& [rows, columns] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {7, 3}, {8, 15}, {9, 16}, {3, 17}, {2, 255}, {5, 256}, {4, 513}, {2, 1100}}) {
    const StoredNumbers x(this->random, kDTypeOf<TypeParam>, rows, columns);
    const std::vector<RowStatistics> result = this->scan(lines_of<TypeParam>(x), rows, columns);
    const testing::Matrix numbers = x.template operands<double>(false);
    Comparison comparison;
    for (std::int64_t i = 0; i < rows; ++i) {
      Wide sum = 0;
      double minimum = std::numeric_limits<double>::infinity();
      for (std::int64_t j = 0; j < columns; ++j) {
        sum += Wide{numbers(i, j)} * numbers(i, j);
        minimum = std::min(minimum, numbers(i, j));
      }
      const RowStatistics& row = result[static_cast<std::size_t>(i)];
      comparison.check(row.sum_of_squares, sum, testing::gamma<double>(columns + 1) * sum, "row",
                       i);
      EXPECT_EQ(row.minimum, minimum);
      EXPECT_EQ(row.nonfinite, 0);
    }
    EXPECT_TRUE(comparison.result()) << rows << " x " << columns;
  }
}

TYPED_TEST(ScanRowsTest, FindsWhatIsNotFinite) {
  if constexpr (!std::is_same_v<TypeParam, std::uint8_t>) {
    // One row, aligned and not: NaN hides no negative number, and infinities count.
    for (const std::int64_t first : {0, 1}) {
      const std::int64_t columns = 100;
      std::vector<std::byte> bytes(static_cast<std::size_t>(columns + first) * sizeof(TypeParam));
      for (std::int64_t j = 0; j < columns; ++j) {
        double number = 1;
        if (j == 3 || j == 98) number = std::numeric_limits<double>::quiet_NaN();
        if (j == 40) number = -2;
        testing::write_number(
            bytes.data() + static_cast<std::size_t>(first + j) * sizeof(TypeParam),
            kDTypeOf<TypeParam>, number);
      }
      const auto set_infinity = [&](std::int64_t j, double sign) {
        std::byte* const to =
            bytes.data() + static_cast<std::size_t>(first + j) * sizeof(TypeParam);
        if constexpr (std::is_same_v<TypeParam, Float16>) {
          const Float16 value{static_cast<std::uint16_t>(sign < 0 ? 0xfc00U : 0x7c00U)};
          std::memcpy(to, &value, sizeof(value));
        } else {
          testing::write_number(to, kDTypeOf<TypeParam>,
                                sign * std::numeric_limits<double>::infinity());
        }
      };
      set_infinity(50, 1);
      const Lines x = make_lines(bytes.data() + static_cast<std::size_t>(first) * sizeof(TypeParam),
                                 0, static_cast<int>(sizeof(TypeParam)));
      std::vector<RowStatistics> result = this->scan(x, 1, columns);
      EXPECT_EQ(result[0].nonfinite, 3);
      EXPECT_EQ(result[0].minimum, -2);
      set_infinity(51, -1);
      result = this->scan(x, 1, columns);
      EXPECT_EQ(result[0].nonfinite, 4);
      EXPECT_EQ(result[0].minimum, -std::numeric_limits<double>::infinity());
    }
  }
}

}  // namespace
}  // namespace cofactor::cuda
