// SPDX-License-Identifier: Apache-2.0
#include "model/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.h"

namespace deepshock {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

void Softmax(std::span<const float> in, std::span<float> out) {
  const float max = *std::max_element(in.begin(), in.end());
  float sum = 0;
  for (size_t i = 0; i < in.size(); ++i) sum += out[i] = std::exp(in[i] - max);
  for (float& value : out) value /= sum;
}

// Indices of the k largest, descending, ties to the lower index.
void TopK(std::span<const float> values, std::span<int32_t> out) {
  std::vector<int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(out.size()), order.end(),
                    [&](int32_t a, int32_t b) {
                      const float va = values[static_cast<size_t>(a)], vb = values[static_cast<size_t>(b)];
                      return va != vb ? va > vb : a < b;
                    });
  std::copy_n(order.begin(), out.size(), out.begin());
}

float ScoreGroup(GroupScore rule, std::span<const float> members) {
  float first = kMinusInfinity, second = kMinusInfinity;
  for (const float v : members) {
    if (v > first) {
      second = first;
      first = v;
    } else if (v > second) {
      second = v;
    }
  }
  return rule == GroupScore::kMax || members.size() < 2 ? first : first + second;
}

// Sets the experts of all but the best groups to -inf. Not to 0: with a selection bias scores may be
// negative.
void MaskGroups(const RouterSpec& spec, std::span<float> selection) {
  if (spec.num_groups <= 1) return;
  const size_t size = selection.size() / static_cast<size_t>(spec.num_groups);
  std::vector<float> scores(static_cast<size_t>(spec.num_groups));
  for (size_t g = 0; g < scores.size(); ++g) {
    scores[g] = ScoreGroup(spec.group_score, selection.subspan(g * size, size));
  }
  std::vector<int32_t> kept(static_cast<size_t>(spec.top_groups));
  TopK(scores, kept);
  for (size_t g = 0; g < scores.size(); ++g) {
    if (std::find(kept.begin(), kept.end(), static_cast<int32_t>(g)) != kept.end()) continue;
    std::ranges::fill(selection.subspan(g * size, size), kMinusInfinity);
  }
}

}  // namespace

void RouteToken(const RouterSpec& spec, std::span<const float> logits, std::span<const float> selection_bias,
                std::span<int32_t> experts, std::span<float> weights) {
  const size_t num_experts = logits.size();
  DS_CHECK(num_experts == static_cast<size_t>(spec.num_experts), "one logit an expert");
  std::vector<float> scores(num_experts);
  switch (spec.score) {
    case RouterScore::kSoftmax:
      Softmax(logits, scores);
      break;
    case RouterScore::kSigmoid:
      for (size_t e = 0; e < num_experts; ++e) scores[e] = 1.0f / (1.0f + std::exp(-logits[e]));
      break;
    case RouterScore::kSoftmaxOfChosen:
      scores.assign(logits.begin(), logits.end());
      break;
  }
  std::vector<float> selection = scores;
  for (size_t e = 0; e < selection_bias.size(); ++e) selection[e] += selection_bias[e];
  MaskGroups(spec, selection);
  TopK(selection, experts);
  for (size_t i = 0; i < experts.size(); ++i) weights[i] = scores[static_cast<size_t>(experts[i])];
  if (spec.score == RouterScore::kSoftmaxOfChosen)
    Softmax(std::vector<float>(weights.begin(), weights.end()), weights);
  if (spec.normalise) {
    const float sum =
        std::accumulate(weights.begin(), weights.end(), 0.0f) + static_cast<float>(spec.normalise_eps);
    for (float& w : weights) w /= sum;
  }
  for (float& w : weights) w *= static_cast<float>(spec.scale);
}

}  // namespace deepshock
