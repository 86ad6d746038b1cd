#include "als/cut_source.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

namespace cofactor {
namespace {

std::unique_ptr<CutSource> cut(const std::vector<float>& a, const std::vector<std::uint8_t>& b,
                               std::vector<ColumnCut> cuts) {
  // Seven rows of 5 and of 3 columns, the first in two pieces.
  std::vector<std::vector<MatrixView>> views{
      {{a.data(), DType::kFloat32, 4, 5, 5}, {a.data() + 20, DType::kFloat32, 3, 5, 5}},
      {{b.data(), DType::kUInt8, 7, 3, 3}}};
  return std::make_unique<CutSource>(std::make_unique<MatrixSource>(std::move(views), 3),
                                     std::move(cuts));
}

class CutSourceTest : public ::testing::Test {
 protected:
  CutSourceTest() : a(35), b(21) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i);
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<std::uint8_t>(i);
  }
  std::vector<float> a;
  std::vector<std::uint8_t> b;
};

TEST_F(CutSourceTest, GivesTheColumnsOfItsCutsInEveryPass) {
  const auto source = cut(a, b, {{1, 2, 1}, {0, 1, 3}, {0, 4, 1}});
  EXPECT_EQ(source->rows(), 7);
  for (int pass = 0; pass < 2; ++pass) {
    source->rewind(0);
    std::int64_t row = 0;
    Block block;
    while (source->next(block)) {
      ASSERT_EQ(block.first_row, row);
      ASSERT_EQ(block.views.size(), 3U);
      EXPECT_EQ(block.views[1].columns, 3);
      for (std::int64_t i = 0; i < block.rows; ++i, ++row) {
        EXPECT_EQ(*static_cast<const std::uint8_t*>(block.views[0].row(i)), row * 3 + 2);
        const auto* values = static_cast<const float*>(block.views[1].row(i));
        for (int j = 0; j < 3; ++j) EXPECT_EQ(values[j], static_cast<float>(row * 5 + 1 + j));
        EXPECT_EQ(*static_cast<const float*>(block.views[2].row(i)),
                  static_cast<float>(row * 5 + 4));
      }
    }
    EXPECT_EQ(row, 7);
  }
}

TEST_F(CutSourceTest, RefusesColumnsThatThereAreNot) {
  for (const ColumnCut& wrong :
       {ColumnCut{2, 0, 1}, ColumnCut{0, 3, 3}, ColumnCut{1, -1, 2}, ColumnCut{1, 0, 0}}) {
    const auto source = cut(a, b, {wrong});
    source->rewind(0);
    Block block;
    EXPECT_THROW(source->next(block), Error);
  }
}

}  // namespace
}  // namespace cofactor
