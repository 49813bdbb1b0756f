// SPDX-License-Identifier: Apache-2.0
#include "experts/profile.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

// Two layers of 4 experts, 2 chosen.
RoutingCounts SmallCounts() {
  RoutingCounts counts(4, 2);
  counts.Add(1, std::vector<int32_t>{0, 1, 0, 2, 0, 3},
             std::vector<float>{1.5f, 0.5f, 1.0f, 1.0f, 1.25f, 0.75f}, 2.0);
  counts.Add(3, std::vector<int32_t>{3, 2, 3, 2, 2, 3}, std::vector<float>(6, 1.0f), 2.0);
  return counts;
}

TEST(RoutingCounts, SharesAndMeanWeightsByHand) {
  const RoutingCounts counts = SmallCounts();
  EXPECT_EQ(counts.num_tokens(), 3);
  const ExpertProfile profile = counts.Profile();
  ASSERT_EQ(profile.layers.size(), 2u);
  EXPECT_EQ(profile.layers[0].layer, 1);
  EXPECT_EQ(profile.layers[0].token, (std::vector<double>{3.0 / 6, 1.0 / 6, 1.0 / 6, 1.0 / 6}));
  EXPECT_EQ(profile.layers[0].gate, (std::vector<double>{1.875 / 3, 0.25 / 3, 0.5 / 3, 0.375 / 3}));
  EXPECT_EQ(profile.layers[1].token, (std::vector<double>{0, 0, 0.5, 0.5}));
  EXPECT_EQ(profile.Find(3), &profile.layers[1]);
  EXPECT_EQ(profile.Find(2), nullptr);
}

TEST(RoutingCounts, MergingIsCountingTogether) {
  RoutingCounts halves = SmallCounts();
  halves.Merge(SmallCounts());
  EXPECT_EQ(halves.num_tokens(), 6);
  EXPECT_EQ(halves.Profile().layers[0].token, SmallCounts().Profile().layers[0].token);
  RoutingCounts pairs(4, 2);
  pairs.AddPair(1, 0, 0.75);
  pairs.AddPair(1, 1, 0.25);
  EXPECT_EQ(pairs.num_tokens(), 1);
  EXPECT_EQ(pairs.Profile().layers[0].gate, (std::vector<double>{0.75, 0.25, 0, 0}));
}

TEST(RoutingCounts, NothingSeenIsAnEmptyProfile) {
  RoutingCounts counts(4, 2);
  counts.Add(1, {}, {});
  EXPECT_EQ(counts.num_tokens(), 0);
  EXPECT_TRUE(counts.Profile().layers.empty());
}

TEST(RoutingHalves, NeighboursPartAndNoPatternDivides) {
  int both_even = 0, period_three = 0;
  for (int64_t pair = 0; pair < 1000; ++pair) {
    EXPECT_NE(HalfOf(2 * pair), HalfOf(2 * pair + 1));
    both_even += HalfOf(2 * pair);
    period_three += HalfOf(3 * pair);
  }
  EXPECT_NEAR(both_even, 500, 80);  // five standard deviations
  EXPECT_NEAR(period_three, 500, 80);
}

TEST(Profile, RanksExpertsOfAllLayersMostChosenFirst) {
  const std::vector<RankedExpert> ranked = RankExperts(SmallCounts().Profile());
  ASSERT_EQ(ranked.size(), 8u);
  EXPECT_EQ(ranked[0].id, (ExpertId{1, 0}));  // ties: lower layer, lower expert
  EXPECT_EQ(ranked[1].id, (ExpertId{3, 2}));
  EXPECT_EQ(ranked[2].id, (ExpertId{3, 3}));
  EXPECT_EQ(ranked[3].id, (ExpertId{1, 1}));
  EXPECT_EQ(ranked[7].id, (ExpertId{3, 1}));
  EXPECT_DOUBLE_EQ(ranked[0].share, 0.5);
}

// Python: round(0.03125, 4) == 0.0312 (a tie, to even), round(2.675, 2) == 2.67 (below the tie in binary).
TEST(Profile, RoundsAsPythonDoes) {
  EXPECT_EQ(RoundDecimals(0.03125, 4), 0.0312);
  EXPECT_EQ(RoundDecimals(0.09375, 4), 0.0938);
  EXPECT_EQ(RoundDecimals(2.675, 2), 2.67);
  EXPECT_EQ(RoundDecimals(0.00005, 4), 0.0001);  // 0.00005 is a little above the tie in binary
  EXPECT_EQ(RoundDecimals(1e300, 4), 1e300);
  EXPECT_EQ(RoundProfile(SmallCounts().Profile()).layers[0].token[1], 0.166667);
}

TEST(Profile, CorrelationOfSharesOverLayersAndExperts) {
  const ExpertProfile a = SmallCounts().Profile();
  EXPECT_NEAR(Correlation(a, a), 1.0, 1e-12);
  ExpertProfile reversed = a;
  for (LayerProfile& layer : reversed.layers) {
    for (double& share : layer.token) share = 0.5 - share;
  }
  EXPECT_NEAR(Correlation(a, reversed), -1.0, 1e-12);
  ExpertProfile flat = a;
  for (LayerProfile& layer : flat.layers) layer.token.assign(4, 0.25);
  EXPECT_EQ(Correlation(a, flat), 0);
}

}  // namespace
}  // namespace deepshock
