// SPDX-License-Identifier: Apache-2.0
// Routing rules that no golden set separates; the rest is checked by tests/golden/conformance_test.cc.
#include "model/router.h"

#include <gtest/gtest.h>

#include <cmath>
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

}  // namespace
}  // namespace deepshock
