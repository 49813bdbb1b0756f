// SPDX-License-Identifier: Apache-2.0
// Routing rules that no golden set separates; the rest is checked by tests/golden/conformance_test.cc.
#include "model/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace deepshock {
namespace {

struct Choice {
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

Choice Route(const RouterSpec& spec, const std::vector<float>& logits, const std::vector<float>& bias = {}) {
  Choice c;
  c.experts.resize(static_cast<size_t>(spec.top_k));
  c.weights.resize(static_cast<size_t>(spec.top_k));
  RouteToken(spec, logits, bias, c.experts, c.weights);
  return c;
}

float Logit(float p) { return std::log(p / (1 - p)); }

TEST(Router, SigmoidMasksLosingGroupsBelowNegativeScores) {
  // Group 0 wins by its first expert, and its second has a negative c. Masking group 1 with 0 instead of -inf
  // would choose from group 1.
  RouterSpec spec;
  spec.num_experts = 4;
  spec.top_k = 2;
  spec.score = RouterScore::kSigmoid;
  spec.has_selection_bias = true;
  spec.num_groups = 2;
  spec.top_groups = 1;
  spec.group_score = GroupScore::kSumOfTopTwo;
  const std::vector<float> logits = {Logit(0.9f), Logit(0.2f), Logit(0.3f), Logit(0.3f)};
  const std::vector<float> bias = {1.0f, -0.7f, 0.0f, 0.0f};  // c = 1.9, -0.5 | 0.3, 0.3
  const Choice c = Route(spec, logits, bias);
  EXPECT_EQ(c.experts, (std::vector<int32_t>{0, 1}));
  EXPECT_NEAR(c.weights[0], 0.9f, 1e-6);  // the bias steers selection only
  EXPECT_NEAR(c.weights[1], 0.2f, 1e-6);
}

TEST(Router, GroupScoreIsMaxOrSumOfTopTwo) {
  RouterSpec spec;
  spec.num_experts = 4;
  spec.top_k = 1;
  spec.score = RouterScore::kSigmoid;
  spec.num_groups = 2;
  spec.top_groups = 1;
  const std::vector<float> logits = {Logit(0.8f), Logit(0.1f), Logit(0.6f), Logit(0.6f)};
  spec.group_score = GroupScore::kMax;
  EXPECT_EQ(Route(spec, logits).experts[0], 0);
  spec.group_score = GroupScore::kSumOfTopTwo;
  EXPECT_EQ(Route(spec, logits).experts[0], 2);
}

TEST(Router, TiesGoToTheLowerExpert) {
  RouterSpec spec;
  spec.num_experts = 5;
  spec.top_k = 3;
  const Choice c = Route(spec, {0, 1, 1, 1, 1});
  EXPECT_EQ(c.experts, (std::vector<int32_t>{1, 2, 3}));
}

TEST(Router, SoftmaxOfChosenEqualsSoftmaxRenormalised) {
  RouterSpec chosen;
  chosen.num_experts = 6;
  chosen.top_k = 3;
  chosen.score = RouterScore::kSoftmaxOfChosen;
  RouterSpec renormalised = chosen;
  renormalised.score = RouterScore::kSoftmax;
  renormalised.normalise = true;
  const std::vector<float> logits = {0.3f, -2.0f, 1.7f, 0.9f, 4.0f, -1.0f};
  const Choice a = Route(chosen, logits), b = Route(renormalised, logits);
  EXPECT_EQ(a.experts, b.experts);
  for (size_t i = 0; i < a.weights.size(); ++i) EXPECT_NEAR(a.weights[i], b.weights[i], 1e-6);
  EXPECT_NEAR(std::accumulate(a.weights.begin(), a.weights.end(), 0.0f), 1.0f, 1e-6);
}

TEST(Router, ScaleAppliesAfterNormalisation) {
  RouterSpec spec;
  spec.num_experts = 4;
  spec.top_k = 2;
  spec.score = RouterScore::kSigmoid;
  spec.normalise = true;
  spec.normalise_eps = 1e-20;
  spec.scale = 2.5;
  const Choice c = Route(spec, {3, 1, 2, 0});
  EXPECT_NEAR(c.weights[0] + c.weights[1], 2.5f, 1e-5);
}

// Four experts without groups; sigmoid scores 0.8, 0.6, 0.4, 0.2.
RouterSpec Four(bool normalise) {
  RouterSpec spec;
  spec.num_experts = 4;
  spec.top_k = 3;
  spec.score = RouterScore::kSigmoid;
  spec.normalise = normalise;
  spec.scale = 2;
  return spec;
}
const std::vector<float> kFourLogits = {Logit(0.8f), Logit(0.6f), Logit(0.4f), Logit(0.2f)};
constexpr float kBanned = -std::numeric_limits<float>::infinity();

struct Controlled : Choice {
  RoutingChange change;
};

Controlled Route(const RouterSpec& spec, const RoutingControl& control, const std::vector<float>& logits,
                 const std::vector<float>& bias = {}) {
  Controlled c;
  c.experts.resize(static_cast<size_t>(spec.top_k));
  c.weights.resize(static_cast<size_t>(spec.top_k));
  c.change = RouteToken(spec, control, control.layers.empty() ? nullptr : control.layers.data(), logits, bias,
                        c.experts, c.weights);
  return c;
}

void ExpectWeights(const std::vector<float>& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-6) << i;
}

TEST(RouterControl, AControlThatAsksForNothingChangesNothing) {
  for (const bool normalise : {false, true}) {
    const Choice own = Route(Four(normalise), kFourLogits);
    const Controlled same = Route(Four(normalise), RoutingControl{}, kFourLogits);
    EXPECT_EQ(same.experts, own.experts);
    EXPECT_EQ(same.weights, own.weights);
    EXPECT_EQ(same.change.changed + same.change.banned + same.change.dropped, 0);
  }
}

TEST(RouterControl, ABannedExpertGivesWayToTheNext) {
  RoutingControl control;
  control.layers = {{{}, {kBanned, 0, 0, 0}}};
  const Controlled c = Route(Four(true), control, kFourLogits);
  EXPECT_EQ(c.experts, (std::vector<int32_t>{1, 2, 3}));
  ExpectWeights(c.weights, {1.0f, 2 * 0.4f / 1.2f, 2 * 0.2f / 1.2f});
  EXPECT_EQ(c.change.banned, 1);
  EXPECT_EQ(c.change.changed, 1);  // expert 3
  EXPECT_EQ(c.change.dropped, 0);
}

TEST(RouterControl, ABiasMovesTheSelectionAndABoostTheWeightToo) {
  RoutingControl bias;
  bias.layers = {{{}, {0, 0, 0, 0.7f}}};  // c of expert 3: 0.9
  const Controlled biased = Route(Four(false), bias, kFourLogits);
  EXPECT_EQ(biased.experts, (std::vector<int32_t>{3, 0, 1}));
  ExpectWeights(biased.weights, {0.4f, 1.6f, 1.2f});
  EXPECT_EQ(biased.change.changed, 1);
  RoutingControl boost;
  boost.layers = {{{0, 0, 0, std::log(16.0f)}, {}}};  // odds 1:4 become 4:1
  const Controlled boosted = Route(Four(false), boost, kFourLogits);
  EXPECT_EQ(boosted.experts, (std::vector<int32_t>{0, 3, 1}));
  ExpectWeights(boosted.weights, {1.6f, 1.6f, 1.2f});
}

TEST(RouterControl, FewerExpertsKeepTheWeightsThatTheyHaveAmongAll) {
  RoutingControl control;
  control.max_chosen = 2;
  const Controlled normalised = Route(Four(true), control, kFourLogits);
  EXPECT_EQ(normalised.experts, (std::vector<int32_t>{0, 1, -1}));
  ExpectWeights(normalised.weights, {2 * 0.8f / 1.8f, 2 * 0.6f / 1.8f, 0});
  EXPECT_EQ(normalised.change.dropped, 1);
  EXPECT_EQ(normalised.change.changed, 0);
  ExpectWeights(Route(Four(false), control, kFourLogits).weights, {1.6f, 1.2f, 0});
  RouterSpec of_chosen = Four(false);
  of_chosen.score = RouterScore::kSoftmaxOfChosen;
  of_chosen.scale = 1;
  const Controlled softmax = Route(of_chosen, control, {2, 1, 0, -1});
  const float sum = 1 + std::exp(-1.0f) + std::exp(-2.0f);
  ExpectWeights(softmax.weights, {1 / sum, std::exp(-1.0f) / sum, 0});
}

// Shares of the three: 0.8, 0.6, 0.4 of 1.8 = 0.444, 0.333, 0.222.
TEST(RouterControl, TheFewestExpertsThatReachTheShareRemain) {
  const struct {
    float share;
    int floor;
    size_t expected;
  } cases[] = {{0.4f, 1, 1}, {0.45f, 1, 2}, {0.7f, 1, 2}, {0.8f, 1, 3},
               {0.0f, 1, 1}, {0.0f, 2, 2},  {0.4f, 9, 3}};
  for (const auto& c : cases) {
    RoutingControl control;
    control.weight_share = c.share;
    control.min_chosen = c.floor;
    const Controlled found = Route(Four(true), control, kFourLogits);
    EXPECT_EQ(found.change.dropped, 3 - c.expected) << c.share << " " << c.floor;
    const std::vector<float> own = Route(Four(true), kFourLogits).weights;
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(found.experts[i], i < c.expected ? static_cast<int32_t>(i) : -1);
      EXPECT_EQ(found.weights[i], i < c.expected ? own[i] : 0.0f);
    }
  }
  // The largest weights, not the first of the selection; and in the selection's order.
  RoutingControl biased;
  biased.layers = {{{}, {0, 0, 0, 5}}};
  biased.weight_share = 0.8f;  // of 0.2 + 0.8 + 0.6
  EXPECT_EQ(Route(Four(true), biased, kFourLogits).experts, (std::vector<int32_t>{0, 1, -1}));
}

// Bans may leave fewer than K where fewer are asked for.
TEST(RouterControl, FewerThanTheModelTakesMayBeLeft) {
  RoutingControl control;
  control.layers = {{{}, {kBanned, 0, kBanned, 0}}};
  control.max_chosen = 1;
  const Controlled c = Route(Four(true), control, kFourLogits);
  EXPECT_EQ(c.experts, (std::vector<int32_t>{1, -1, -1}));
  ExpectWeights(c.weights, {2 * 0.6f / 0.8f, 0, 0});
  EXPECT_EQ(c.change.banned, 2);
  EXPECT_EQ(c.change.dropped, 2);
}

// Two groups of two, one serves.
TEST(RouterControl, GroupsThatBansEmptyMakeRoom) {
  RouterSpec spec = Four(false);
  spec.top_k = 2;
  spec.scale = 1;
  spec.num_groups = 2;
  spec.top_groups = 1;
  for (const GroupScore score : {GroupScore::kMax, GroupScore::kSumOfTopTwo}) {
    spec.group_score = score;
    EXPECT_EQ(Route(spec, kFourLogits).experts, (std::vector<int32_t>{0, 1}));
    RoutingControl control;
    control.layers = {{{}, {kBanned, kBanned, 0, 0}}};
    EXPECT_EQ(Route(spec, control, kFourLogits).experts, (std::vector<int32_t>{2, 3}));
    // One is left in the better group: the other group helps out.
    control.layers = {{{}, {0, kBanned, 0, 0}}};
    EXPECT_EQ(Route(spec, control, kFourLogits).experts, (std::vector<int32_t>{0, 2}));
    control.max_chosen = 1;
    EXPECT_EQ(Route(spec, control, kFourLogits).experts, (std::vector<int32_t>{0, -1}));
  }
}

}  // namespace
}  // namespace deepshock
