// SPDX-License-Identifier: Apache-2.0
#include "experts/profile.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"

namespace deepshock {

const LayerProfile* ExpertProfile::Find(int32_t layer) const {
  const auto at = std::lower_bound(layers.begin(), layers.end(), layer,
                                   [](const LayerProfile& l, int32_t wanted) { return l.layer < wanted; });
  return at != layers.end() && at->layer == layer ? &*at : nullptr;
}

std::vector<RankedExpert> RankExperts(const ExpertProfile& profile) {
  std::vector<RankedExpert> ranked;
  for (const LayerProfile& layer : profile.layers) {
    for (size_t e = 0; e < layer.token.size(); ++e) {
      ranked.push_back({{layer.layer, static_cast<int32_t>(e)}, layer.token[e]});
    }
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const RankedExpert& a, const RankedExpert& b) { return a.share > b.share; });
  return ranked;
}

double RoundDecimals(double value, int decimals) {
  char text[400];  // 309 digits before the point
  const auto end = std::to_chars(text, text + sizeof(text), value, std::chars_format::fixed, decimals);
  DS_CHECK(end.ec == std::errc(), "any double fits");
  double rounded = 0;
  std::from_chars(text, end.ptr, rounded);
  return rounded;
}

ExpertProfile RoundProfile(ExpertProfile profile) {
  for (LayerProfile& layer : profile.layers) {
    for (double& v : layer.token) v = RoundDecimals(v, kProfileDecimals);
    for (double& v : layer.gate) v = RoundDecimals(v, kProfileDecimals);
  }
  return profile;
}

RoutingCounts::Layer& RoutingCounts::At(int32_t layer) {
  Layer& at = layers_[layer];
  at.selections.resize(static_cast<size_t>(num_experts_));
  at.weights.resize(static_cast<size_t>(num_experts_));
  return at;
}

void RoutingCounts::Add(int32_t layer, std::span<const int32_t> experts, std::span<const float> weights,
                        double weight_scale) {
  DS_CHECK(experts.size() == weights.size() && experts.size() % static_cast<size_t>(top_k_) == 0,
           "K experts and weights a token");
  if (experts.empty()) return;
  Layer& at = At(layer);
  at.pairs += static_cast<int64_t>(experts.size());
  for (size_t i = 0; i < experts.size(); ++i) {
    DS_CHECK(experts[i] >= 0 && experts[i] < num_experts_, "an expert of the model");
    const auto e = static_cast<size_t>(experts[i]);
    ++at.selections[e];
    at.weights[e] += static_cast<double>(weights[i]) / weight_scale;
  }
}

void RoutingCounts::AddPair(int32_t layer, int32_t expert, double weight) {
  DS_CHECK(expert >= 0 && expert < num_experts_, "an expert of the model");
  Layer& at = At(layer);
  ++at.pairs;
  ++at.selections[static_cast<size_t>(expert)];
  at.weights[static_cast<size_t>(expert)] += weight;
}

void RoutingCounts::Merge(const RoutingCounts& other) {
  DS_CHECK(other.num_experts_ == num_experts_ && other.top_k_ == top_k_, "counts of one model");
  for (const auto& [layer, from] : other.layers_) {
    Layer& at = At(layer);
    at.pairs += from.pairs;
    for (size_t e = 0; e < at.selections.size(); ++e) {
      at.selections[e] += from.selections[e];
      at.weights[e] += from.weights[e];
    }
  }
}

int64_t RoutingCounts::num_tokens() const {
  int64_t pairs = 0;
  for (const auto& [layer, counts] : layers_) pairs = std::max(pairs, counts.pairs);
  return pairs / top_k_;
}

ExpertProfile RoutingCounts::Profile() const {
  ExpertProfile profile{num_experts_, top_k_, {}};
  for (const auto& [layer, counts] : layers_) {
    if (counts.pairs == 0) continue;
    const auto pairs = static_cast<double>(counts.pairs), tokens = pairs / top_k_;
    LayerProfile out{layer, {}, {}};
    for (const int64_t n : counts.selections) out.token.push_back(static_cast<double>(n) / pairs);
    for (const double w : counts.weights) out.gate.push_back(w / tokens);
    profile.layers.push_back(std::move(out));
  }
  return profile;
}

int HalfOf(int64_t record) {
  // The finaliser of splitmix64 (Steele, Lea, Flood 2014).
  uint64_t z = (static_cast<uint64_t>(record / 2) + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  return static_cast<int>((static_cast<uint64_t>(record) ^ z) & 1);
}

double Correlation(const ExpertProfile& a, const ExpertProfile& b) {
  DS_CHECK(a.layers.size() == b.layers.size(), "profiles of one model");
  double n = 0, sum_a = 0, sum_b = 0, sum_aa = 0, sum_bb = 0, sum_ab = 0;
  for (size_t l = 0; l < a.layers.size(); ++l) {
    const std::vector<double>&x = a.layers[l].token, &y = b.layers[l].token;
    DS_CHECK(x.size() == y.size(), "profiles of one model");
    for (size_t e = 0; e < x.size(); ++e) {
      n += 1;
      sum_a += x[e];
      sum_b += y[e];
      sum_aa += x[e] * x[e];
      sum_bb += y[e] * y[e];
      sum_ab += x[e] * y[e];
    }
  }
  const double var_a = n * sum_aa - sum_a * sum_a, var_b = n * sum_bb - sum_b * sum_b;
  if (!(var_a > 0) || !(var_b > 0)) return 0;
  return std::clamp((n * sum_ab - sum_a * sum_b) / std::sqrt(var_a * var_b), -1.0, 1.0);
}

}  // namespace deepshock
