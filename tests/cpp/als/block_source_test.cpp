#include "als/block_source.h"

#include <string>

#include "core/error.h"
#include "testing.h"

namespace cofactor {
namespace {

/// Rows numbered from 0 with the row number in every column, cut into pieces with padded rows.
struct NumberedView {
  NumberedView(std::int64_t columns_, const std::vector<std::int64_t>& lengths)
      : columns(columns_) {
    std::int64_t first = 0;
    for (const std::int64_t rows : lengths) {
      std::vector<float> piece(static_cast<std::size_t>(rows * (columns + 2)), -1.0F);
      for (std::int64_t i = 0; i < rows; ++i) {
        std::fill_n(piece.begin() + i * (columns + 2), columns, static_cast<float>(first + i));
      }
      memory.push_back(std::move(piece));
      pieces.push_back({memory.back().data(), DType::kFloat32, rows, columns, columns + 2});
      first += rows;
    }
  }
  std::int64_t columns;
  std::vector<std::vector<float>> memory;
  std::vector<MatrixView> pieces;
};

/// Reads everything from a row on and checks that every row of every view comes once and in order;
/// returns the lengths of the blocks.
std::vector<std::int64_t> read(MatrixSource& source, std::size_t views, std::int64_t row = 0) {
  std::vector<std::int64_t> lengths;
  Block block;
  while (source.next(block)) {
    EXPECT_EQ(block.first_row, row);
    EXPECT_GT(block.rows, 0);
    EXPECT_EQ(block.views.size(), views);
    for (const MatrixView& view : block.views) {
      EXPECT_EQ(view.rows, block.rows);
      for (std::int64_t i = 0; i < view.rows; ++i) {
        for (std::int64_t j = 0; j < view.columns; ++j) {
          EXPECT_EQ(static_cast<const float*>(view.row(i))[j], static_cast<float>(row + i));
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

TEST(MatrixSourceTest, BlocksEndWhereAPieceOfAnyViewEnds) {
  const NumberedView a(3, {5, 5, 10}), b(1, {20}), c(4, {1, 18, 1});
  MatrixSource all({a.pieces, b.pieces, c.pieces}, 0);
  EXPECT_EQ(all.rows(), 20);
  EXPECT_EQ(read(all, 3), (Lengths{1, 4, 5, 9, 1}));
  MatrixSource limited({a.pieces, b.pieces, c.pieces}, 7);
  EXPECT_EQ(read(limited, 3), (Lengths{1, 4, 5, 7, 2, 1}));
  MatrixSource ones({a.pieces, b.pieces, c.pieces}, 1);
  EXPECT_EQ(read(ones, 3), Lengths(20, 1));
}

TEST(MatrixSourceTest, NoLimitGivesOneBlock) {
  const NumberedView a(3, {20}), b(1, {20});
  for (const std::int64_t block_rows : {0, 20, 1000}) {
    MatrixSource source({a.pieces, b.pieces}, block_rows);
    EXPECT_EQ(read(source, 2), Lengths{20});
  }
}

TEST(MatrixSourceTest, RewindsAnywhere) {
  const NumberedView a(2, {3, 4}), b(2, {6, 1});
  MatrixSource source({a.pieces, b.pieces}, 2);
  const Lengths expected{2, 1, 2, 1, 1};
  EXPECT_EQ(read(source, 2), expected);
  source.rewind(0);
  EXPECT_EQ(read(source, 2), expected);
  source.rewind(0);
  Block block;
  EXPECT_TRUE(source.next(block));
  source.rewind(0);
  EXPECT_EQ(read(source, 2), expected);
  source.rewind(4);
  EXPECT_EQ(read(source, 2, 4), (Lengths{2, 1}));
  source.rewind(7);
  EXPECT_TRUE(read(source, 2, 7).empty());
}

TEST(MatrixSourceTest, EmptyPiecesAreSkippedEverywhere) {
  const NumberedView a(2, {0, 3, 0, 0, 4, 0}), b(2, {7});
  MatrixSource source({a.pieces, b.pieces}, 0);
  EXPECT_EQ(read(source, 2), (Lengths{3, 4}));
}

TEST(MatrixSourceTest, NoRowsGiveNoBlocks) {
  const NumberedView a(2, {0, 0}), b(2, {});
  MatrixSource source({a.pieces, b.pieces}, 3);
  EXPECT_EQ(source.rows(), 0);
  EXPECT_TRUE(read(source, 2).empty());
  MatrixSource none({}, 3);
  EXPECT_TRUE(read(none, 0).empty());
}

TEST(MatrixSourceTest, ViewsMustHaveTheSameRows) {
  const NumberedView a(2, {3, 4}), b(2, {6});
  try {
    const MatrixSource source({a.pieces, a.pieces, b.pieces}, 0);
    FAIL() << "accepted 7 and 6 rows";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kValue);
    const std::string text = error.what();
    EXPECT_NE(text.find("view number 2 has 6 rows"), std::string::npos) << text;
    EXPECT_NE(text.find('7'), std::string::npos) << text;
  }
}

class MatrixSourceRandomTest : public testing::RandomTest {};

TEST_F(MatrixSourceRandomTest, AnyPiecesAndLimits) {
  for (int repeat = 0; repeat < 200; ++repeat) {
    const std::int64_t rows = random.integer(1, 40);
    const auto cut = [&] {
      Lengths lengths;
      for (std::int64_t left = rows; left > 0; left -= lengths.back()) {
        lengths.push_back(random.integer(0, left));
      }
      return lengths;
    };
    const NumberedView a(1, cut()), b(3, cut()), c(2, cut());
    const std::int64_t limit = random.integer(0, 9);
    MatrixSource source({a.pieces, b.pieces, c.pieces}, limit);
    for (const std::int64_t length : read(source, 3)) {
      EXPECT_LE(length, limit > 0 ? limit : rows);
    }
  }
}

}  // namespace
}  // namespace cofactor
