// SPDX-License-Identifier: Apache-2.0
#include "experts/selection.h"

#include <gtest/gtest.h>

#include <cmath>

namespace deepshock {
namespace {

ExpertProfile OneLayer(std::vector<double> token) {
  const int num_experts = static_cast<int>(token.size());
  std::vector<double> gate = token;
  std::reverse(gate.begin(), gate.end());
  return {num_experts, 2, {{1, std::move(token), std::move(gate)}}};
}

TEST(Selection, TakesTheBestUntilTheSumReachesP) {
  const ExpertProfile profile = OneLayer({0.1, 0.4, 0.2, 0.3});
  const ExpertSelection some = SelectExperts(profile, SelectionRule::kEsftToken, 0.6);
  EXPECT_EQ(some.layers[0].experts, (std::vector<int32_t>{1, 3}));
  EXPECT_DOUBLE_EQ(some.p_above, 0.4);
  EXPECT_DOUBLE_EQ(some.p_upto, 0.7);
  EXPECT_EQ(some.size(), 2);
  EXPECT_EQ(some.Ids(), (std::vector<ExpertId>{{1, 1}, {1, 3}}));
  // The ends of the interval: p_above itself selects less, p_upto the same, a little above it more.
  EXPECT_EQ(SelectExperts(profile, SelectionRule::kEsftToken, some.p_above).size(), 1);
  EXPECT_EQ(SelectExperts(profile, SelectionRule::kEsftToken, some.p_upto).size(), 2);
  EXPECT_EQ(SelectExperts(profile, SelectionRule::kEsftToken, std::nextafter(some.p_upto, 1)).size(), 3);
  EXPECT_EQ(SelectExperts(profile, SelectionRule::kEsftGate, 0.6).layers[0].experts,
            (std::vector<int32_t>{2, 0}));
}

TEST(Selection, TiesGoToTheLowerIdAndAreTold) {
  // Equal once rounded to 4 decimals.
  const ExpertSelection tied =
      SelectExperts(OneLayer({0.10001, 0.29998, 0.30002, 0.3}), SelectionRule::kEsftToken, 0.6);
  EXPECT_EQ(tied.layers[0].experts, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(tied.layers[0].tied, (std::vector<int32_t>{3}));
  EXPECT_TRUE(
      SelectExperts(OneLayer({0.1, 0.4, 0.2, 0.3}), SelectionRule::kEsftToken, 0.5).layers[0].tied.empty());
}

TEST(Selection, EveryExpertWhereTheSumNeverReachesP) {
  const ExpertSelection all = SelectExperts(OneLayer({0.1, 0.2, 0.3, 0.3}), SelectionRule::kEsftToken, 2);
  EXPECT_EQ(all.size(), 4);
  EXPECT_TRUE(std::isinf(all.p_upto));
  EXPECT_NEAR(all.p_above, 0.8, 1e-12);
}

TEST(Selection, RulesHaveNames) {
  for (const SelectionRule rule : {SelectionRule::kEsftToken, SelectionRule::kEsftGate}) {
    const auto found = SelectionRuleByName(Name(rule));
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(*found, rule);
  }
  EXPECT_EQ(SelectionRuleByName("top").message(), "rule: expected esft-token or esft-gate, found \"top\"");
}

TEST(Selection, AgreementAndCoverage) {
  const ExpertProfile profile = OneLayer({0.1, 0.4, 0.2, 0.3});
  const ExpertSelection two = SelectExperts(profile, SelectionRule::kEsftToken, 0.6);
  const ExpertSelection three = SelectExperts(profile, SelectionRule::kEsftToken, 0.8);
  EXPECT_DOUBLE_EQ(MeanJaccard(two, three), 2.0 / 3);
  EXPECT_DOUBLE_EQ(MeanJaccard(two, two), 1);
  const ExpertProfile other = OneLayer({0.6, 0.1, 0.1, 0.2});
  EXPECT_DOUBLE_EQ(Coverage(two, other), 0.3);
  EXPECT_DOUBLE_EQ(ChanceCoverage(two), 0.5);
  EXPECT_DOUBLE_EQ(BestCoverage(two, other), 0.8);
}

}  // namespace
}  // namespace deepshock
