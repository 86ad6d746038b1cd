#include "core/cache_sizes.h"

#include <gtest/gtest.h>

namespace cofactor {
namespace {

TEST(CacheSizesTest, DefaultsAreOrdered) {
  const CacheSizes defaults;
  EXPECT_GT(defaults.l2, 0);
  EXPECT_GE(defaults.last, defaults.l2);
}

TEST(CacheSizesTest, SizesOfThisMachineArePlausible) {
  const CacheSizes sizes = cache_sizes();
  EXPECT_GE(sizes.l2, 16 << 10);
  EXPECT_LE(sizes.l2, std::int64_t{1} << 30);
  EXPECT_LE(sizes.last, std::int64_t{1} << 40);
  // Defaults stand in for what the system does not say, so they may be on either side.
  const CacheSizes defaults;
  EXPECT_TRUE(sizes.l2 == defaults.l2 || sizes.last == defaults.last || sizes.last >= sizes.l2);
}

TEST(CacheSizesTest, AskingTwiceGivesTheSame) {
  EXPECT_EQ(cache_sizes().l2, cache_sizes().l2);
  EXPECT_EQ(cache_sizes().last, cache_sizes().last);
}

}  // namespace
}  // namespace cofactor
