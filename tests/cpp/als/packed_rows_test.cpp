#include "als/packed_rows.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "testing.h"

namespace cofactor {
namespace {

template <class To>
std::vector<To> pack(const PackedRows& rows, std::int64_t first, std::int64_t count) {
  std::vector<To> out(static_cast<std::size_t>(count * rows.columns()));
  rows.pack(first, count, reinterpret_cast<std::byte*>(out.data()));
  return out;
}

/// Values 0, 1, 2 .. row by row, in an array of the given strides, which may be negative.
template <class From, class To>
void expect_layout(std::int64_t rows, std::int64_t columns, std::int64_t row_stride,
                   std::int64_t column_stride, bool swapped, Stored stored, DType dtype) {
  const std::int64_t span = std::abs(row_stride) * (rows - 1) +
                            std::abs(column_stride) * (columns - 1) +
                            static_cast<std::int64_t>(sizeof(From));
  // Off by one, so that nothing is aligned.
  std::vector<std::byte> memory(static_cast<std::size_t>(span) + 1);
  std::byte* start = memory.data() + 1;
  if (row_stride < 0) start -= row_stride * (rows - 1);
  if (column_stride < 0) start -= column_stride * (columns - 1);
  std::vector<To> expected;
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const auto value = static_cast<From>((i * columns + j) % 120);
      std::byte* const at = start + i * row_stride + j * column_stride;
      std::memcpy(at, &value, sizeof(From));
      if (swapped) std::reverse(at, at + sizeof(From));
      expected.push_back(static_cast<To>(value));
    }
  }
  const StridedRows view({start, rows, columns, row_stride, column_stride, stored, swapped}, dtype);
  EXPECT_EQ(view.dtype(), dtype);
  EXPECT_EQ(pack<To>(view, 0, rows), expected);
  if (rows > 2) {
    const std::vector<To> middle(expected.begin() + columns,
                                 expected.begin() + columns * (rows - 1));
    EXPECT_EQ(pack<To>(view, 1, rows - 2), middle);
  }
}

template <class From, class To>
void expect_all_layouts(Stored stored, DType dtype) {
  const auto size = static_cast<std::int64_t>(sizeof(From));
  for (const std::int64_t rows : {1, 3, 16, 17, 40}) {
    for (const std::int64_t columns : {1, 2, 15, 16, 33}) {
      for (const bool swapped : {false, true}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
        expect_layout<From, To>(rows, columns, size, size * rows, swapped, stored, dtype);
        expect_layout<From, To>(rows, columns, size * columns, size, swapped, stored, dtype);
        expect_layout<From, To>(rows, columns, -size * columns, size, swapped, stored, dtype);
        expect_layout<From, To>(rows, columns, 2 * size * columns + 1, -2 * size, swapped, stored,
                                dtype);
      }
    }
  }
}

TEST(PackedRowsTest, AnyStridesAndByteOrderGiveTheSameRows) {
  expect_all_layouts<std::uint8_t, std::uint8_t>(Stored::kBits8, DType::kUInt8);
  expect_all_layouts<std::uint16_t, std::uint16_t>(Stored::kBits16, DType::kFloat16);
  expect_all_layouts<float, float>(Stored::kBits32, DType::kFloat32);
  expect_all_layouts<double, double>(Stored::kBits64, DType::kFloat64);
}

TEST(PackedRowsTest, IntegersAreConverted) {
  expect_all_layouts<std::int8_t, float>(Stored::kInt8, DType::kFloat32);
  expect_all_layouts<std::int16_t, float>(Stored::kInt16, DType::kFloat32);
  expect_all_layouts<std::uint16_t, float>(Stored::kUInt16, DType::kFloat32);
  expect_all_layouts<std::int32_t, double>(Stored::kInt32, DType::kFloat64);
  expect_all_layouts<std::uint32_t, double>(Stored::kUInt32, DType::kFloat64);
  expect_all_layouts<std::int64_t, double>(Stored::kInt64, DType::kFloat64);
  expect_all_layouts<std::uint64_t, double>(Stored::kUInt64, DType::kFloat64);
}

TEST(PackedRowsTest, ExtremeIntegersKeepTheirSign) {
  const std::int16_t small[] = {std::numeric_limits<std::int16_t>::min(), -1, 32767};
  const StridedRows rows({reinterpret_cast<const std::byte*>(small), 1, 3, 6, 2, Stored::kInt16},
                         DType::kFloat32);
  EXPECT_EQ(pack<float>(rows, 0, 1), (std::vector<float>{-32768, -1, 32767}));
  const std::uint64_t large[] = {std::numeric_limits<std::uint64_t>::max()};
  const StridedRows wide({reinterpret_cast<const std::byte*>(large), 1, 1, 8, 8, Stored::kUInt64},
                         DType::kFloat64);
  EXPECT_EQ(pack<double>(wide, 0, 1), (std::vector<double>{18446744073709551616.0}));
}

TEST(PackedRowsTest, ADtypeMustFitWhatIsStored) {
  EXPECT_THROW(StridedRows({nullptr, 1, 1, 4, 4, Stored::kBits32}, DType::kFloat64), Error);
  EXPECT_THROW(StridedRows({nullptr, 1, 1, 8, 8, Stored::kInt64}, DType::kFloat32), Error);
}

template <class Index, class T>
void expect_sparse(DType dtype) {
  //  5 . . 1      column 3 comes first
  //  . . . .
  //  . 2 . .      as 1.5 and 0.5
  const std::vector<Index> starts{0, 2, 2, 4}, columns{3, 0, 1, 1};
  const std::vector<T> values{1, 5, 1.5, 0.5};
  const SparseRows rows({starts.data(), columns.data(), values.data(), 3, 4, 4, sizeof(Index) == 8},
                        dtype);
  EXPECT_EQ(rows.dtype(), dtype);
  EXPECT_EQ(pack<T>(rows, 0, 3), (std::vector<T>{5, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0}));
  EXPECT_EQ(pack<T>(rows, 2, 1), (std::vector<T>{0, 2, 0, 0}));
}

TEST(PackedRowsTest, SparseRowsAreExpanded) {
  expect_sparse<std::int32_t, float>(DType::kFloat32);
  expect_sparse<std::int64_t, float>(DType::kFloat32);
  expect_sparse<std::int32_t, double>(DType::kFloat64);
  expect_sparse<std::int64_t, double>(DType::kFloat64);
}

TEST(PackedRowsTest, BadSparseRowsAreRefused) {
  const std::vector<std::int32_t> columns{0, 4};
  const std::vector<float> values{1, 1};
  const auto rows = [&](const std::vector<std::int32_t>& starts) {
    return SparseRows({starts.data(), columns.data(), values.data(), 2, 4, 2, false},
                      DType::kFloat32);
  };
  EXPECT_THROW(rows({1, 1, 2}), Error);
  EXPECT_THROW(rows({0, 2, 1}), Error);
  EXPECT_THROW(rows({0, 1, 3}), Error);
  EXPECT_THROW(rows({0, -1, 2}), Error);
  EXPECT_THROW(pack<float>(rows({0, 1, 2}), 0, 2), Error);  // column 4 of 4
  EXPECT_EQ(pack<float>(rows({0, 1, 2}), 0, 1), (std::vector<float>{1, 0, 0, 0}));
  const std::vector<std::int32_t> starts{0, 0, 0};
  EXPECT_THROW(
      SparseRows({starts.data(), columns.data(), values.data(), 2, 4, 2, false}, DType::kFloat16),
      Error);
}

}  // namespace
}  // namespace cofactor
