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
  // With all but one banned, that one is the sum of what there is.
  return rule == GroupScore::kMax || second == kMinusInfinity ? first : first + second;
}

// Sets the experts of all but the best groups to -inf. Not to 0: with a selection bias scores may be
// negative. Where bans left the best groups fewer than `num_wanted` experts, the next best serve too.
void MaskGroups(const RouterSpec& spec, size_t num_wanted, std::span<float> selection) {
  if (spec.num_groups <= 1) return;
  const size_t size = selection.size() / static_cast<size_t>(spec.num_groups);
  std::vector<float> scores(static_cast<size_t>(spec.num_groups));
  for (size_t g = 0; g < scores.size(); ++g) {
    scores[g] = ScoreGroup(spec.group_score, selection.subspan(g * size, size));
  }
  std::vector<int32_t> order(scores.size());
  TopK(scores, order);
  size_t num_kept = 0, num_usable = 0;
  for (const int32_t g : order) {
    const auto members = selection.subspan(static_cast<size_t>(g) * size, size);
    if (num_kept >= static_cast<size_t>(spec.top_groups) && num_usable >= num_wanted) {
      std::ranges::fill(members, kMinusInfinity);
      continue;
    }
    ++num_kept;
    num_usable += size - static_cast<size_t>(std::ranges::count(members, kMinusInfinity));
  }
}

std::vector<float> Scores(const RouterSpec& spec, std::span<const float> logits) {
  std::vector<float> scores(logits.begin(), logits.end());
  if (spec.score == RouterScore::kSoftmax) {
    Softmax(logits, scores);
  } else if (spec.score == RouterScore::kSigmoid) {
    for (float& score : scores) score = 1.0f / (1.0f + std::exp(-score));
  }
  return scores;
}

// The chosen experts' weights.
void Weigh(const RouterSpec& spec, std::span<const float> scores, std::span<const int32_t> experts,
           std::span<float> weights) {
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

// Leaves of a token's experts the fewest whose weights reach the control's share, in the order they had;
// returns how many.
size_t KeepShare(const RoutingControl& control, std::span<int32_t> experts, std::span<float> weights) {
  std::vector<int32_t> order(experts.size());
  TopK(weights, order);
  const float wanted = control.weight_share * std::accumulate(weights.begin(), weights.end(), 0.0f);
  const size_t fewest = std::min(experts.size(), static_cast<size_t>(control.min_chosen));
  size_t count = 0;
  for (float sum = 0; count < order.size() && (count < fewest || sum < wanted); ++count)
    sum += weights[static_cast<size_t>(order[count])];
  std::sort(order.begin(), order.begin() + static_cast<int64_t>(count));
  for (size_t i = 0; i < count; ++i) {
    experts[i] = experts[static_cast<size_t>(order[i])];
    weights[i] = weights[static_cast<size_t>(order[i])];
  }
  return count;
}

}  // namespace

void RouteToken(const RouterSpec& spec, std::span<const float> logits, std::span<const float> selection_bias,
                std::span<int32_t> experts, std::span<float> weights) {
  DS_CHECK(logits.size() == static_cast<size_t>(spec.num_experts), "one logit an expert");
  const std::vector<float> scores = Scores(spec, logits);
  std::vector<float> selection = scores;
  for (size_t e = 0; e < selection_bias.size(); ++e) selection[e] += selection_bias[e];
  MaskGroups(spec, experts.size(), selection);
  TopK(selection, experts);
  Weigh(spec, scores, experts, weights);
}

RoutingChange RouteToken(const RouterSpec& spec, const RoutingControl& control,
                         const RoutingControl::Layer* layer, std::span<const float> logits,
                         std::span<const float> selection_bias, std::span<int32_t> experts,
                         std::span<float> weights) {
  static const RoutingControl::Layer kUnchanged;
  if (layer == nullptr) layer = &kUnchanged;
  const size_t k = experts.size();
  std::vector<int32_t> own(k);  // what the router would have chosen
  RouteToken(spec, logits, selection_bias, own, weights);

  std::vector<float> moved(logits.begin(), logits.end());
  for (size_t e = 0; e < layer->logit_bias.size(); ++e) moved[e] += layer->logit_bias[e];
  const std::vector<float> scores = Scores(spec, moved);
  std::vector<float> selection = scores;
  for (size_t e = 0; e < selection_bias.size(); ++e) selection[e] += selection_bias[e];
  for (size_t e = 0; e < layer->selection_bias.size(); ++e) selection[e] += layer->selection_bias[e];
  const auto num_left =
      static_cast<size_t>(spec.num_experts - std::ranges::count(layer->selection_bias, kMinusInfinity));
  const size_t num_chosen = std::min(k, num_left);
  MaskGroups(spec, num_chosen, selection);
  TopK(selection, experts.first(num_chosen));
  Weigh(spec, scores, experts.first(num_chosen), weights.first(num_chosen));
  size_t count = num_chosen;
  if (control.max_chosen > 0) count = std::min(count, static_cast<size_t>(control.max_chosen));
  if (control.weight_share < 1) count = KeepShare(control, experts.first(count), weights.first(count));
  std::ranges::fill(experts.subspan(count), -1);
  std::ranges::fill(weights.subspan(count), 0.0f);

  RoutingChange change;
  change.dropped = static_cast<uint16_t>(k - count);
  for (const int32_t expert : experts.first(count)) change.changed += std::ranges::count(own, expert) == 0;
  if (layer->selection_bias.empty()) return change;
  for (const int32_t expert : own)
    change.banned += layer->selection_bias[static_cast<size_t>(expert)] == kMinusInfinity;
  return change;
}

}  // namespace deepshock
