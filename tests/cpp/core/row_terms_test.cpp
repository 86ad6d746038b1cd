#include "core/row_terms.h"

#include "testing.h"

namespace cofactor {
namespace {

class RowTermsTest : public testing::RandomTest {};

TEST_F(RowTermsTest, WithoutTermsEveryRowIsAlike) {
  const RowTerms terms;
  for (const std::int64_t row : {0, 7, 1'000'000}) {
    EXPECT_EQ(terms.weight_of(row), 1.0);
    EXPECT_EQ(terms.pattern_of(row), 0);
    EXPECT_TRUE(terms.has(row, 3));
  }
  EXPECT_TRUE(terms.complete(3));
  EXPECT_EQ(terms.run(5, 12, 0), 12);
}

TEST_F(RowTermsTest, RowsHaveTheViewsOfTheirPattern) {
  for (const int rows : {1, 2, 17, 200}) {
    RowTerms terms;
    // View 0 is in every pattern, and the last pattern is no row's.
    terms.patterns = {{true, false, true}, {true, true, false}, {true, true, true}};
    std::vector<bool> has_view_1;
    for (int i = 0; i < rows; ++i) {
      terms.weight.push_back(random.uniform(0, 3));
      // Runs of some length.
      const bool stay = i > 0 && random.chance(0.7);
      terms.pattern.push_back(stay ? terms.pattern.back()
                                   : static_cast<std::int32_t>(random.integer(0, 1)));
      has_view_1.push_back(terms.pattern.back() == 1);
    }
    EXPECT_TRUE(terms.complete(0));
    EXPECT_FALSE(terms.complete(1));
    EXPECT_FALSE(terms.complete(2));
    for (int i = 0; i < rows; ++i) {
      const auto at = static_cast<std::size_t>(i);
      EXPECT_EQ(terms.weight_of(i), terms.weight[at]);
      EXPECT_EQ(terms.pattern_of(i), terms.pattern[at]);
      EXPECT_TRUE(terms.has(i, 0));
      EXPECT_EQ(terms.has(i, 1), has_view_1[at]);
      EXPECT_EQ(terms.has(i, 2), !has_view_1[at]);
      const int limit = static_cast<int>(random.integer(1, rows - i));
      int length = 0;
      while (length < limit && has_view_1[at + static_cast<std::size_t>(length)] == has_view_1[at])
        ++length;
      EXPECT_EQ(terms.run(i, limit, 1), length);
      EXPECT_EQ(terms.run(i, limit, 0), limit);
    }
  }
}

}  // namespace
}  // namespace cofactor
