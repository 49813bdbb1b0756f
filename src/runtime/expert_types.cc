// SPDX-License-Identifier: Apache-2.0
#include "runtime/expert_types.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

namespace deepshock {
namespace {

// Routers' evidence: times chance, and times the next best group. Groups of the embedded model hold 1.6
// to 2.4 times chance on their own text and up to 1.2 on other text.
constexpr double kMinRatio = 1.25, kMinLead = 1.1;
constexpr int64_t kMaxRows = 256;
// Of tokens: nats by which a type must lead, and prompts that must have been seen.
constexpr double kMinNats = 2.0;
constexpr float kMinPrompts = 2;
constexpr size_t kMaxTokens = 512;    // of a prompt are looked at
constexpr size_t kMaxSeen = 1 << 18;  // tokens
constexpr float kMaxPrompts = 4096;

std::set<int32_t> Distinct(std::span<const int32_t> prompt) {
  const auto part = prompt.first(std::min(prompt.size(), kMaxTokens));
  return {part.begin(), part.end()};
}

}  // namespace

ExpertTypes::ExpertTypes(std::shared_ptr<const GroupMasks> groups) : groups_(std::move(groups)) {
  const size_t n = groups_->size(), layers = groups_->shape().layers.size();
  const auto experts = static_cast<size_t>(groups_->shape().num_experts);
  names_ = groups_->names();
  std::vector<double> size(n), both(n * n);
  for (size_t at = 0; at < layers * experts && n > 0; ++at) {
    const uint64_t mask = groups_->At(at / experts, static_cast<int32_t>(at % experts));
    for (size_t a = 0; a < n; ++a) {
      if ((mask >> a & 1) == 0) continue;
      ++size[a];
      for (size_t b = 0; b < n; ++b) both[a * n + b] += mask >> b & 1;
    }
  }
  for (const double each : size)
    chance_.push_back(each / static_cast<double>(std::max<size_t>(1, layers * experts)));
  for (size_t at = 0; at < n * n; ++at) {
    const double either = size[at / n] + size[at % n] - both[at];
    affinity_.push_back(either > 0 ? both[at] / either : 0);
  }
}

int ExpertTypes::Of(std::string_view name) {
  if (name.empty()) return kUnknown;
  const auto it = std::ranges::find(names_, name);
  if (it != names_.end()) return static_cast<int>(it - names_.begin());
  if (names_.size() >= kMaxTypes) return kUnknown;
  names_.emplace_back(name);
  return static_cast<int>(names_.size()) - 1;
}

double ExpertTypes::Affinity(int a, int b) const {
  if (a == kUnknown || b == kUnknown) return 0;
  if (a == b) return 1;
  const size_t n = groups_->size(), i = static_cast<size_t>(a), j = static_cast<size_t>(b);
  return i < n && j < n ? affinity_[i * n + j] : 0;
}

int ExpertTypes::Infer(std::span<const RoutingFeed::Layer> layers, int64_t first_row,
                       int64_t num_rows) const {
  const size_t n = groups_->size();
  if (n == 0 || layers.size() != groups_->shape().layers.size()) return kUnknown;
  std::vector<double> shares(n);
  double total = 0;
  for (size_t slot = 0; slot < layers.size(); ++slot) {
    for (int64_t row = first_row; row < first_row + std::min(num_rows, kMaxRows); ++row)
      total += groups_->AddWeights(slot, layers[slot].Experts(row), layers[slot].Weights(row), shares);
  }
  if (total <= 0) return kUnknown;
  double best = 0, next = 0;
  int type = kUnknown;
  for (size_t g = 0; g < n; ++g) {
    const double ratio = chance_[g] > 0 ? shares[g] / total / chance_[g] : 0;
    if (ratio > best) {
      next = best;
      best = ratio;
      type = static_cast<int>(g);
    } else {
      next = std::max(next, ratio);
    }
  }
  return best >= kMinRatio && best >= kMinLead * next ? type : kUnknown;
}

void ExpertTypes::Learn(std::span<const int32_t> prompt, int type) {
  if (type == kUnknown) return;
  ++num_learned_;
  const auto t = static_cast<size_t>(type);
  if (prompts_.size() <= t) prompts_.resize(t + 1);
  if (++prompts_[t] > kMaxPrompts || seen_.size() > kMaxSeen) {
    for (float& count : prompts_) count /= 2;
    for (auto& [token, counts] : seen_) {
      for (float& count : counts) count /= 2;
    }
    std::erase_if(seen_, [](const auto& entry) { return std::ranges::max(entry.second) < 1; });
  }
  for (const int32_t token : Distinct(prompt)) {
    std::vector<float>& counts = seen_[token];
    if (counts.size() <= t) counts.resize(t + 1);
    ++counts[t];
  }
}

int ExpertTypes::Guess(std::span<const int32_t> prompt) const {
  // Naive Bayes over the tokens that occur (Maron, 1961), each type as likely as another before.
  std::vector<double> nats(prompts_.size());
  for (const int32_t token : Distinct(prompt)) {
    const auto it = seen_.find(token);
    if (it == seen_.end()) continue;
    for (size_t t = 0; t < nats.size(); ++t) {
      const double count = t < it->second.size() ? static_cast<double>(it->second[t]) : 0;
      nats[t] += std::log((count + 0.1) / (static_cast<double>(prompts_[t]) + 0.2));
    }
  }
  double best = -INFINITY, next = -INFINITY;
  int type = kUnknown, num_types = 0;
  for (size_t t = 0; t < nats.size(); ++t) {
    if (prompts_[t] < kMinPrompts) continue;
    ++num_types;
    if (nats[t] > best) {
      next = best;
      best = nats[t];
      type = static_cast<int>(t);
    } else {
      next = std::max(next, nats[t]);
    }
  }
  return num_types >= 2 && best - next >= kMinNats ? type : kUnknown;
}

}  // namespace deepshock
