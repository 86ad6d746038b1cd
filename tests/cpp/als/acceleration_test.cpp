#include "als/acceleration.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cofactor {
namespace {

TEST(MomentumTest, FollowsNesterovsSequence) {
  Momentum momentum(true);
  double t = 1;
  for (int step = 0; step < 20; ++step) {
    const double after = (1 + std::sqrt(1 + 4 * t * t)) / 2;
    EXPECT_DOUBLE_EQ(momentum.next(), (t - 1) / after);
    t = after;
  }
}

TEST(MomentumTest, StartsWithoutAStepGrowsAndStaysBelowOne) {
  Momentum momentum(true);
  double last = momentum.next();
  EXPECT_EQ(last, 0);
  for (int step = 0; step < 1000; ++step) {
    const double factor = momentum.next();
    EXPECT_GT(factor, last);
    EXPECT_LT(factor, 1);
    last = factor;
  }
}

TEST(MomentumTest, RestartForgetsTheHistory) {
  Momentum momentum(true);
  for (int step = 0; step < 5; ++step) momentum.next();
  momentum.restart();
  Momentum fresh(true);
  for (int step = 0; step < 5; ++step) EXPECT_EQ(momentum.next(), fresh.next());
}

TEST(MomentumTest, DisabledIsAlwaysZero) {
  Momentum momentum(false);
  for (int step = 0; step < 5; ++step) EXPECT_EQ(momentum.next(), 0);
}

}  // namespace
}  // namespace cofactor
