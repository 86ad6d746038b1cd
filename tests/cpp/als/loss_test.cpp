#include "als/loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace cofactor {
namespace {

/// Two views of weights 2 and 0.5 with penalties on everything.
Problem penalised() {
  Problem problem;
  problem.views = {{.columns = 3, .weight = 2.0, .l1_h = 0.3, .l2_h = 0.7},
                   {.columns = 4, .weight = 0.5, .l1_h = 0.1, .l2_h = 0.2}};
  problem.ranks = {2};
  problem.l1_w = 0.9;
  problem.l2_w = 1.1;
  return problem;
}

Problem plain(double weight) {
  Problem problem;
  problem.views = {{.columns = 3, .weight = weight}};
  problem.ranks = {1};
  return problem;
}

TEST(LossFunctionTest, TotalIsTheWeightedSumOfSquares) {
  const Problem problem = penalised();
  EXPECT_DOUBLE_EQ(LossFunction(problem, {10.0, 40.0}, 4).total(), 2 * 10 + 0.5 * 40);
}

TEST(LossFunctionTest, IdentityGivesLossObjectiveAndViews) {
  const Problem problem = penalised();
  const LossFunction function(problem, {10.0, 40.0}, 4);
  const std::vector<ViewTerms> terms{{.cross = 6, .model = 5, .h_l1 = 3, .h_l2 = 4},
                                     {.cross = 30, .model = 28, .h_l1 = 7, .h_l2 = 8}};
  const Loss loss = function.from_sums(terms, {.cross = 1e9, .w_l1 = 5}, 13.0);
  // ||X||^2 - 2 <S, H> + <C, H H^T>, by view.
  const double first = 10 - 12 + 5, second = 40 - 60 + 28;
  EXPECT_DOUBLE_EQ(loss.relative, (2 * first + 0.5 * second) / 40);
  ASSERT_EQ(loss.by_view.size(), 2U);
  EXPECT_DOUBLE_EQ(loss.by_view[0], first / 10);
  EXPECT_DOUBLE_EQ(loss.by_view[1], second / 40);
  const double penalties =
      0.9 * 5 + 0.5 * 1.1 * 13 + 2 * (0.3 * 3 + 0.5 * 0.7 * 4) + 0.5 * (0.1 * 7 + 0.5 * 0.2 * 8);
  EXPECT_DOUBLE_EQ(loss.objective, 0.5 * (2 * first + 0.5 * second) + penalties);
  EXPECT_TRUE(loss.trusted);
}

TEST(LossFunctionTest, ResidualsReplaceTheIdentity) {
  const Problem problem = penalised();
  const LossFunction function(problem, {10.0, 40.0}, 4);
  const std::vector<ViewTerms> terms{
      {.cross = -1, .model = -1, .residual = 1e-9, .h_l1 = 3, .h_l2 = 4},
      {.cross = -1, .model = -1, .residual = 3e-9, .h_l1 = 7, .h_l2 = 8}};
  const Loss loss = function.from_residual(terms, {.w_l1 = 5}, 13.0);
  EXPECT_DOUBLE_EQ(loss.relative, (2 * 1e-9 + 0.5 * 3e-9) / 40);
  EXPECT_DOUBLE_EQ(loss.by_view[1], 3e-9 / 40);
  EXPECT_TRUE(loss.trusted);
}

TEST(LossFunctionTest, SmallLossesAreNotTrusted) {
  const Problem problem = plain(3.0);
  for (const int size : {4, 8}) {
    const LossFunction function(problem, {100.0}, size);
    const double limit = identity_limit(size);
    const auto loss_of = [&](double relative) {
      return function.from_sums({{.cross = 100.0, .model = 100.0 * (1 + relative)}}, {}, 0);
    };
    EXPECT_TRUE(loss_of(1.01 * limit).trusted);
    EXPECT_FALSE(loss_of(0.99 * limit).trusted);
    // Cancellation may even give a negative number.
    EXPECT_EQ(loss_of(-1e-6).relative, 0);
    EXPECT_FALSE(loss_of(-1e-6).trusted);
  }
}

TEST(LossFunctionTest, LimitsFollowTheComputeType) {
  // A hundred times a few roundings of sums, and no more than a loss that people care about.
  EXPECT_GT(identity_limit(4), 100 * std::ldexp(1.0, -24));
  EXPECT_LT(identity_limit(4), 2e-2);
  EXPECT_DOUBLE_EQ(identity_limit(4) / identity_limit(8), std::ldexp(1.0, 53 - 24));
}

TEST(LossFunctionTest, RowSumsGiveTheLossOfTheInputFactor) {
  const Problem problem = penalised();
  const LossFunction function(problem, {10.0, 40.0}, 4);
  EXPECT_DOUBLE_EQ(function.from_rows(25.0, 20.0), (40 - 50 + 20) / 40.0);
  EXPECT_EQ(function.from_rows(30.0, 19.0), 0);
}

TEST(LossFunctionTest, ZeroDataHasLossZeroAndNeedsNoSecondRead) {
  const Problem problem = plain(1.0);
  const LossFunction function(problem, {0.0}, 4);
  const Loss loss = function.from_sums({{}}, {}, 0);
  EXPECT_EQ(loss.relative, 0);
  EXPECT_EQ(loss.by_view[0], 0);
  EXPECT_TRUE(loss.trusted);
  EXPECT_EQ(function.from_rows(0, 0), 0);
}

TEST(LossFunctionTest, APassiveViewHasALossAndNoWeight) {
  Problem problem = penalised();
  problem.views[1].weight = 0;
  const LossFunction function(problem, {10.0, 40.0}, 4);
  const Loss loss =
      function.from_sums({{.cross = 6, .model = 5}, {.cross = 30, .model = 28}}, {}, 0);
  EXPECT_DOUBLE_EQ(loss.relative, 3.0 / 10);
  EXPECT_DOUBLE_EQ(loss.by_view[1], 8.0 / 40);
  EXPECT_DOUBLE_EQ(loss.objective, 0.5 * 2 * 3);
}

TEST(LossFunctionTest, NanIsNotMistakenForZero) {
  const Problem problem = plain(1.0);
  const LossFunction function(problem, {100.0}, 4);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(function.from_sums({{.cross = nan, .model = 1}}, {}, 0).relative));
  EXPECT_TRUE(std::isnan(function.from_rows(nan, 1)));
}

}  // namespace
}  // namespace cofactor
