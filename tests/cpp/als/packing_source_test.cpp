#include "als/packing_source.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "testing.h"

namespace cofactor {
namespace {

/// A view whose every column holds 1000 v + the row number, by columns.
struct ByColumns {
  ByColumns(std::int64_t rows_, std::int64_t columns_, std::int64_t v)
      : rows(rows_), columns(columns_), values(static_cast<std::size_t>(rows_ * columns_)) {
    for (std::int64_t j = 0; j < columns; ++j) {
      for (std::int64_t i = 0; i < rows; ++i) {
        values[static_cast<std::size_t>(j * rows + i)] = static_cast<float>(1000 * v + i);
      }
    }
  }
  [[nodiscard]] std::unique_ptr<PackedRows> packed() const {
    StridedRows::Layout layout;
    layout.data = reinterpret_cast<const std::byte*>(values.data());
    layout.rows = rows;
    layout.columns = columns;
    layout.row_stride = 4;
    layout.column_stride = 4 * rows;
    return std::make_unique<StridedRows>(layout, DType::kFloat32);
  }
  std::int64_t rows, columns;
  std::vector<float> values;
};

/// Reads everything from a row on and checks it; returns the lengths of the blocks.
std::vector<std::int64_t> read(BlockSource& source, std::size_t views, std::int64_t row = 0) {
  std::vector<std::int64_t> lengths;
  Block block;
  source.rewind(row);
  while (source.next(block)) {
    EXPECT_EQ(block.first_row, row);
    EXPECT_EQ(block.views.size(), views);
    for (std::size_t v = 0; v < block.views.size(); ++v) {
      const MatrixView& view = block.views[v];
      EXPECT_EQ(view.rows, block.rows);
      EXPECT_EQ(view.dtype, DType::kFloat32);
      for (std::int64_t i = 0; i < view.rows; ++i) {
        for (std::int64_t j = 0; j < view.columns; ++j) {
          EXPECT_EQ(static_cast<const float*>(view.row(i))[j],
                    static_cast<float>(1000 * static_cast<std::int64_t>(v) + row + i));
        }
      }
    }
    lengths.push_back(block.rows);
    row += block.rows;
  }
  EXPECT_EQ(row, source.rows());
  EXPECT_FALSE(source.next(block));
  return lengths;
}

using Lengths = std::vector<std::int64_t>;

std::vector<PackingSource::View> one(std::size_t position, std::unique_ptr<PackedRows> rows) {
  std::vector<PackingSource::View> views;
  views.push_back({position, std::move(rows)});
  return views;
}

TEST(PackingSourceTest, PacksBlockByBlock) {
  const ByColumns a(100, 7, 0), b(100, 3, 1);
  for (const int threads : {1, 3}) {
    auto views = one(0, a.packed());
    views.push_back({1, b.packed()});
    PackingSource source(nullptr, std::move(views), 40, threads);
    EXPECT_EQ(read(source, 2), (Lengths{40, 40, 20}));
    EXPECT_EQ(read(source, 2), (Lengths{40, 40, 20}));
  }
}

TEST(PackingSourceTest, KeepsTheOrderOfViewsAndTheBlocksOfTheOthers) {
  const ByColumns packed(10, 7, 1);
  std::vector<float> first(20), last(10);
  for (std::size_t i = 0; i < 10; ++i) {
    first[2 * i] = first[2 * i + 1] = static_cast<float>(i);
    last[i] = static_cast<float>(2000 + i);
  }
  std::vector<std::vector<MatrixView>> pieces{
      {{first.data(), DType::kFloat32, 4, 2, 2}, {first.data() + 8, DType::kFloat32, 6, 2, 2}},
      {{last.data(), DType::kFloat32, 10, 1, 1}}};
  PackingSource source(std::make_unique<MatrixSource>(std::move(pieces), 3),
                       one(1, packed.packed()), 3, 2);
  EXPECT_EQ(read(source, 3), (Lengths{3, 1, 3, 3}));
  EXPECT_EQ(read(source, 3, 2), (Lengths{2, 3, 3}));
}

TEST(PackingSourceTest, ViewsMustHaveTheSameRows) {
  const ByColumns a(10, 2, 0), b(9, 2, 1);
  auto views = one(0, a.packed());
  views.push_back({1, b.packed()});
  EXPECT_THROW(PackingSource(nullptr, std::move(views), 4, 1), Error);
  std::vector<float> values(9);
  std::vector<std::vector<MatrixView>> pieces{{{values.data(), DType::kFloat32, 9, 1, 1}}};
  EXPECT_THROW(
      PackingSource(std::make_unique<MatrixSource>(std::move(pieces), 4), one(0, a.packed()), 4, 1),
      Error);
}

TEST(PackingSourceTest, BlocksHaveABoundedSize) {
  for (const std::int64_t bytes : {0, 1, 4, 1000, 100'000, 100'000'000}) {
    const std::int64_t rows = packed_block_rows(bytes);
    EXPECT_GE(rows, 64);
    EXPECT_TRUE(rows == 64 || rows * bytes <= (std::int64_t{16} << 20)) << bytes;
    EXPECT_EQ(rows % 32, 0);
  }
}

}  // namespace
}  // namespace cofactor
