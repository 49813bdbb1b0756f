// SPDX-License-Identifier: Apache-2.0
#include "experts/routing_counters.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

// Two layers, four experts, two of them a token.
class RoutingCountersTest : public testing::Test {
 protected:
  void SetUp() override {
    auto groups = std::make_shared<GroupMasks>(shape_);
    ASSERT_TRUE(groups->Add("a", std::vector<ExpertId>{{1, 0}, {3, 0}}).ok());
    ASSERT_TRUE(groups->Add("b", std::vector<ExpertId>{{1, 1}, {3, 1}, {3, 0}}).ok());
    groups_ = groups;
  }
  // One token.
  void Feed(RoutingCounters& counters, std::vector<int32_t> experts1, std::vector<float> weights1,
            std::vector<int32_t> experts3, std::vector<float> weights3,
            RoutingPhase phase = RoutingPhase::kDecode) {
    const LayerRouting layers[] = {{1, experts1, weights1}, {3, experts3, weights3}};
    const RoutedRow row{1, 0, 5, phase, 0};
    counters.OnStep({1, 1, 2, {&row, 1}, layers});
  }
  const RoutingShape shape_{4, 2, {1, 3}};
  std::shared_ptr<const GroupMasks> groups_;
};

TEST_F(RoutingCountersTest, TokensByLayerExpertAndPhase) {
  RoutingCounters counters(shape_);
  EXPECT_EQ(counters.Snapshot().layers[0].LoadBalance(), 1);
  Feed(counters, {0, 1}, {1, 1}, {2, -1}, {1, 0}, RoutingPhase::kPrefill);
  Feed(counters, {0, 2}, {1, 1}, {3, 2}, {1, 1});
  const RoutingSnapshot s = counters.Snapshot();
  EXPECT_EQ(s.prefill_tokens, 1);
  EXPECT_EQ(s.decode_tokens, 1);
  EXPECT_EQ(s.selections, 7);
  EXPECT_EQ(s.layers[0].layer, 1);
  EXPECT_EQ(s.layers[0].prefill, (std::vector<int64_t>{1, 1, 0, 0}));
  EXPECT_EQ(s.layers[0].decode, (std::vector<int64_t>{1, 0, 1, 0}));
  EXPECT_EQ(s.layers[1].prefill, (std::vector<int64_t>{0, 0, 1, 0}));
  EXPECT_EQ(s.layers[1].decode, (std::vector<int64_t>{0, 0, 1, 1}));
  EXPECT_DOUBLE_EQ(s.layers[0].LoadBalance(), 1.0 / 2);   // loads 2 1 1 0
  EXPECT_DOUBLE_EQ(s.layers[1].LoadBalance(), 0.75 / 2);  // loads 0 0 2 1
  EXPECT_NE(DescribeRouting(s).find("2 (1 of prompts, 1 generated)"), std::string::npos);
}

// docs: two groups or more each hold at least a quarter of a token's gate weight over all layers.
TEST_F(RoutingCountersTest, GroupsAndConflicts) {
  RoutingCounters counters(shape_, groups_);
  Feed(counters, {0, 1}, {0.5f, 0.5f}, {2, 3}, {0.5f, 0.5f});    // a, b: 1/4 each: a conflict
  Feed(counters, {0, 1}, {0.5f, 0.49f}, {2, 3}, {0.5f, 0.51f});  // b less than a quarter
  Feed(counters, {2, 3}, {0.5f, 0.5f}, {0, 3}, {0.5f, 0.5f});    // 3:0 is in both
  Feed(counters, {2, 3}, {1, 1}, {2, 3}, {1, 1});
  const RoutingSnapshot s = counters.Snapshot();
  EXPECT_EQ(s.conflict_tokens, 2);
  EXPECT_DOUBLE_EQ(s.ConflictRatio(), 0.5);
  ASSERT_EQ(s.groups.size(), 2u);
  EXPECT_EQ(s.groups[0].name, "a");
  EXPECT_EQ(s.groups[0].selections, 3);
  EXPECT_EQ(s.groups[1].selections, 3);
  EXPECT_DOUBLE_EQ(s.groups[0].activation_ratio, 3.0 / 16);
}

TEST_F(RoutingCountersTest, TheWindowForgetsOldTokens) {
  RoutingCounters counters(shape_, groups_);
  for (int64_t i = 0; i < RoutingCounters::kWindowTokens; ++i) Feed(counters, {0, 2}, {1, 1}, {2, 3}, {1, 1});
  EXPECT_DOUBLE_EQ(counters.Snapshot().groups[0].activation_ratio, 0.25);
  for (int64_t i = 0; i < RoutingCounters::kWindowTokens / 2; ++i)
    Feed(counters, {3, 2}, {1, 1}, {2, 3}, {1, 1});
  EXPECT_NEAR(counters.Snapshot().groups[0].activation_ratio, 0.125, 0.01);
  for (int64_t i = 0; i < RoutingCounters::kWindowTokens / 2; ++i)
    Feed(counters, {3, 2}, {1, 1}, {2, 3}, {1, 1});
  EXPECT_EQ(counters.Snapshot().groups[0].activation_ratio, 0);
  EXPECT_EQ(counters.Snapshot().groups[0].selections, RoutingCounters::kWindowTokens);
}

}  // namespace
}  // namespace deepshock
