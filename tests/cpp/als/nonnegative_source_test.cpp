#include "als/nonnegative_source.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "core/error.h"
#include "testing.h"

namespace cofactor {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Numbers that all dtypes hold, signs and special values among them.
double number(std::int64_t i) {
  constexpr double kSpecial[] = {0.0, -0.0, kNaN, -kNaN, kInfinity, -kInfinity, -0.5, 1.5};
  if (i % 5 == 0) return kSpecial[i / 5 % 8];
  return static_cast<double>(i * 7 % 41 - 20) / 4.0;
}

std::uint16_t bits_of(double value, DType dtype) {
  if (dtype == DType::kBFloat16) {
    const auto narrow = static_cast<float>(value);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &narrow, sizeof bits);
    return static_cast<std::uint16_t>(bits >> 16);
  }
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return sign | 0x7e00;
  if (std::isinf(value)) return sign | 0x7c00;
  if (value == 0.0) return sign;
  int exponent = 0;
  const double fraction = std::frexp(std::abs(value), &exponent);  // 0.5 to 1
  const auto mantissa = static_cast<std::uint16_t>((2.0 * fraction - 1.0) * 1024.0);
  return static_cast<std::uint16_t>(sign | (exponent + 14) << 10 | mantissa);
}

double value_of(const MatrixView& view, std::int64_t i, std::int64_t j) {
  switch (view.dtype) {
    case DType::kFloat32:
      return static_cast<const float*>(view.row(i))[j];
    case DType::kFloat64:
      return static_cast<const double*>(view.row(i))[j];
    default:
      break;
  }
  const std::uint16_t bits = static_cast<const std::uint16_t*>(view.row(i))[j];
  // Found by search: another way than that of the source.
  for (std::int64_t k = 0; k < 4000; ++k) {
    for (const double value : {number(k), std::abs(number(k)), 0.0}) {
      if (bits_of(value, view.dtype) == bits) return value;
    }
  }
  ADD_FAILURE() << "a number that nobody stored: " << bits;
  return 0.0;
}

/// A view of rows with padding behind each.
struct Stored {
  Stored(DType dtype, std::int64_t rows, std::int64_t columns) {
    const std::int64_t stride = columns + 3;
    memory.resize(static_cast<std::size_t>(rows * stride) * size_of(dtype));
    view = {memory.data(), dtype, rows, columns, stride};
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) put(i * stride + j, number(i * columns + j));
    }
  }
  void put(std::int64_t at, double value) {
    std::byte* to = memory.data() + static_cast<std::size_t>(at) * size_of(view.dtype);
    const auto narrow = static_cast<float>(value);
    const std::uint16_t bits = bits_of(value, view.dtype);
    if (view.dtype == DType::kFloat64) {
      std::memcpy(to, &value, sizeof value);
    } else if (view.dtype == DType::kFloat32) {
      std::memcpy(to, &narrow, sizeof narrow);
    } else {
      std::memcpy(to, &bits, sizeof bits);
    }
  }
  std::vector<std::byte> memory;
  MatrixView view;
};

double expected(const NegativeRule& rule, double x, bool second_half) {
  if (std::isnan(x)) return x;
  if (rule.what == Negative::kShift) return x - rule.minimum;
  return std::max(second_half ? -x : x, 0.0);
}

/// Views in memory, each in one piece.
std::unique_ptr<BlockSource> in_memory(const std::vector<MatrixView>& views,
                                       std::int64_t block_rows) {
  std::vector<std::vector<MatrixView>> pieces;
  for (const MatrixView& view : views) pieces.push_back({view});
  return std::make_unique<MatrixSource>(std::move(pieces), block_rows);
}

class NonnegativeSourceTest : public ::testing::TestWithParam<std::tuple<DType, Negative>> {};

TEST_P(NonnegativeSourceTest, GivesWhatTheRuleSays) {
  const auto [dtype, what] = GetParam();
  const NegativeRule rule{what, -5.0};
  for (const std::int64_t columns : {1, 3, 17, 64}) {
    const std::int64_t rows = 40;
    const Stored stored(dtype, rows, columns);
    auto inner = in_memory({stored.view}, 7);
    NonnegativeSource source(std::move(inner), {rule});
    EXPECT_EQ(source.rows(), rows);
    for (std::int64_t row : {0, 0, 10}) {
      source.rewind(row);
      Block block;
      while (source.next(block)) {
        ASSERT_EQ(block.first_row, row);
        const MatrixView& view = block.views.front();
        ASSERT_EQ(view.columns, columns_after(rule, columns));
        ASSERT_EQ(view.dtype, dtype_after(rule, dtype));
        for (std::int64_t i = 0; i < block.rows; ++i, ++row) {
          for (std::int64_t j = 0; j < view.columns; ++j) {
            const double x = number(row * columns + j % columns);
            const double found = value_of(view, i, j);
            const double wanted = expected(rule, x, j >= columns);
            EXPECT_TRUE(found == wanted || (std::isnan(found) && std::isnan(wanted)))
                << found << " of " << x;
          }
        }
      }
      EXPECT_EQ(row, rows);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, NonnegativeSourceTest,
                         ::testing::Combine(::testing::Values(DType::kFloat16, DType::kBFloat16,
                                                              DType::kFloat32, DType::kFloat64),
                                            ::testing::Values(Negative::kRelu, Negative::kShift,
                                                              Negative::kSplit)));

TEST(NonnegativeSource, PassesOnInPlaceWhatIsKept) {
  const Stored kept(DType::kFloat32, 5, 3);
  const Stored changed(DType::kFloat32, 5, 2);
  auto inner = in_memory({kept.view, changed.view}, 0);
  NonnegativeSource source(std::move(inner), {{}, {Negative::kRelu, 0.0}});
  Block block;
  ASSERT_TRUE(source.next(block));
  EXPECT_EQ(block.views[0].data, kept.view.data);
  EXPECT_NE(block.views[1].data, changed.view.data);
  EXPECT_FALSE(source.next(block));
}

TEST(NonnegativeSource, CutsLargeBlocksBetweenPanels) {
  const std::int64_t rows = 5000;
  const std::int64_t columns = 1024;
  const std::vector<float> zeros(static_cast<std::size_t>(rows * columns));
  const MatrixView view{zeros.data(), DType::kFloat32, rows, columns, columns};
  auto inner = in_memory({view}, 0);
  NonnegativeSource source(std::move(inner), {{Negative::kSplit, 0.0}});
  Block block;
  std::int64_t row = 0;
  while (source.next(block)) {
    EXPECT_EQ(block.first_row, row);
    EXPECT_LE(block.rows * 2 * columns * 4, 8 << 20);
    row += block.rows;
    EXPECT_TRUE(row % 512 == 0 || row == rows);
  }
  EXPECT_EQ(row, rows);
}

TEST(NonnegativeSource, DoesNotShiftWhatHasNoNegativeValues) {
  const float number = 3.0F;
  const MatrixView view{&number, DType::kFloat32, 1, 1, 1};
  auto inner = in_memory({view}, 0);
  NonnegativeSource source(std::move(inner), {{Negative::kShift, 2.0}});
  Block block;
  ASSERT_TRUE(source.next(block));
  EXPECT_EQ(*static_cast<const float*>(block.views[0].row(0)), 3.0F);
}

TEST(NonnegativeSource, RefusesRulesThatDoNotFit) {
  const std::uint8_t code = 3;
  const MatrixView view{&code, DType::kUInt8, 1, 1, 1};
  Block block;
  for (const std::vector<NegativeRule>& rules :
       {std::vector<NegativeRule>{{Negative::kRelu, 0.0}}, std::vector<NegativeRule>{}}) {
    auto inner = in_memory({view}, 0);
    NonnegativeSource source(std::move(inner), rules);
    EXPECT_THROW(source.next(block), Error);
  }
  EXPECT_EQ(parse_negative("split"), Negative::kSplit);
  EXPECT_THROW(static_cast<void>(parse_negative("abs")), Error);
}

}  // namespace
}  // namespace cofactor
