// SPDX-License-Identifier: Apache-2.0
#include "experts/routing_counters.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/check.h"

namespace deepshock {

double RoutingSnapshot::Layer::LoadBalance() const {
  int64_t sum = 0, largest = 0;
  for (size_t e = 0; e < prefill.size(); ++e) {
    const int64_t load = prefill[e] + decode[e];
    sum += load;
    largest = std::max(largest, load);
  }
  if (largest == 0) return 1;
  return static_cast<double>(sum) / static_cast<double>(prefill.size()) / static_cast<double>(largest);
}

double RoutingSnapshot::ConflictRatio() const {
  return tokens() == 0 ? 0 : static_cast<double>(conflict_tokens) / static_cast<double>(tokens());
}

RoutingCounters::RoutingCounters(RoutingShape shape, std::shared_ptr<const GroupMasks> groups)
    : shape_(std::move(shape)), groups_(std::move(groups)) {
  for (auto& tokens : tokens_) tokens.resize(shape_.layers.size() * static_cast<size_t>(shape_.num_experts));
  if (groups_ == nullptr) return;
  by_group_.resize(groups_->size());
  shares_.resize(groups_->size());
  for (Part& part : window_) part.by_group.resize(groups_->size());
}

void RoutingCounters::OnStep(const RoutingStep& step) {
  DS_CHECK(step.layers.size() == shape_.layers.size(), "the model's layers");
  const std::lock_guard lock(mutex_);
  for (const RoutedRow& row : step.rows) {
    std::vector<int64_t>& tokens = tokens_[static_cast<size_t>(row.phase)];
    int64_t selections = 0;
    for (size_t l = 0; l < step.layers.size(); ++l) {
      int64_t* counts = tokens.data() + l * static_cast<size_t>(shape_.num_experts);
      for (const int32_t expert : step.Experts(step.layers[l], row)) {
        if (expert < 0) break;
        ++counts[expert];
        ++selections;
      }
    }
    ++rows_[static_cast<size_t>(row.phase)];
    selections_ += selections;
    if (groups_ != nullptr) CountGroups(step, row, selections);
  }
}

void RoutingCounters::CountGroups(const RoutingStep& step, const RoutedRow& row, int64_t selections) {
  Part& part = window_[part_];
  std::ranges::fill(shares_, 0);
  double sum = 0;
  for (size_t l = 0; l < step.layers.size(); ++l) {
    const auto experts = step.Experts(step.layers[l], row);
    sum += groups_->AddWeights(l, experts, step.Weights(step.layers[l], row), shares_);
    for (const int32_t expert : experts) {
      if (expert < 0) break;
      for (uint64_t mask = groups_->At(l, expert); mask != 0; mask &= mask - 1) {
        const auto g = static_cast<size_t>(std::countr_zero(mask));
        ++by_group_[g];
        ++part.by_group[g];
      }
    }
  }
  const auto holds = [&](double share) { return share >= kConflictShare * sum; };
  if (sum > 0 && std::ranges::count_if(shares_, holds) >= 2) ++conflicts_;
  part.selections += selections;
  if (++part.tokens < kWindowTokens / kWindowParts) return;
  part_ = (part_ + 1) % window_.size();
  Part& oldest = window_[part_];
  oldest.tokens = oldest.selections = 0;
  std::ranges::fill(oldest.by_group, 0);
}

RoutingSnapshot RoutingCounters::Snapshot() const {
  const std::lock_guard lock(mutex_);
  RoutingSnapshot snapshot;
  snapshot.prefill_tokens = rows_[static_cast<size_t>(RoutingPhase::kPrefill)];
  snapshot.decode_tokens = rows_[static_cast<size_t>(RoutingPhase::kDecode)];
  snapshot.selections = selections_;
  snapshot.conflict_tokens = conflicts_;
  for (size_t l = 0; l < shape_.layers.size(); ++l) {
    const auto counts = [&](RoutingPhase phase) {
      const auto begin =
          tokens_[static_cast<size_t>(phase)].begin() + static_cast<std::ptrdiff_t>(l) * shape_.num_experts;
      return std::vector<int64_t>(begin, begin + shape_.num_experts);
    };
    snapshot.layers.push_back(
        {shape_.layers[l], counts(RoutingPhase::kPrefill), counts(RoutingPhase::kDecode)});
  }
  if (groups_ == nullptr) return snapshot;
  int64_t selections = 0;
  for (const Part& part : window_) selections += part.selections;
  for (size_t g = 0; g < groups_->size(); ++g) {
    int64_t count = 0;
    for (const Part& part : window_) count += part.by_group[g];
    snapshot.groups.push_back(
        {groups_->names()[g], by_group_[g],
         selections == 0 ? 0 : static_cast<double>(count) / static_cast<double>(selections)});
  }
  return snapshot;
}

std::string DescribeRouting(const RoutingSnapshot& snapshot) {
  std::string text =
      fmt::format("tokens      {} ({} of prompts, {} generated)\nselections  {}\n", snapshot.tokens(),
                  snapshot.prefill_tokens, snapshot.decode_tokens, snapshot.selections);
  text += "\nlayer  balance  busiest experts (share of the layer's selections)\n";
  for (const RoutingSnapshot::Layer& layer : snapshot.layers) {
    std::vector<int64_t> load(layer.prefill.size());
    for (size_t e = 0; e < load.size(); ++e) load[e] = layer.prefill[e] + layer.decode[e];
    const int64_t sum = std::max<int64_t>(1, std::accumulate(load.begin(), load.end(), int64_t{0}));
    std::vector<size_t> order(load.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return load[a] > load[b]; });
    text += fmt::format("{:5}  {:7.3f}  ", layer.layer, layer.LoadBalance());
    for (size_t i = 0; i < std::min<size_t>(4, order.size()) && load[order[i]] > 0; ++i) {
      text += fmt::format("{}{} {:.1f} %", i == 0 ? "" : ", ", order[i],
                          100 * static_cast<double>(load[order[i]]) / static_cast<double>(sum));
    }
    text += "\n";
  }
  if (snapshot.groups.empty()) return text;
  size_t width = 5;
  for (const RoutingSnapshot::Group& group : snapshot.groups) width = std::max(width, group.name.size());
  text += fmt::format("\n{:<{}}  share of selections  of the last {} tokens\n", "group", width,
                      RoutingCounters::kWindowTokens);
  for (const RoutingSnapshot::Group& group : snapshot.groups) {
    const auto all = static_cast<double>(std::max<int64_t>(1, snapshot.selections));
    text += fmt::format("{:<{}}  {:17.1f} %  {:.1f} %\n", group.name, width,
                        100 * static_cast<double>(group.selections) / all, 100 * group.activation_ratio);
  }
  text += fmt::format(
      "conflicts: two groups or more each hold {:.0f} % of the gate weight of {:.1f} % of tokens\n",
      100 * RoutingCounters::kConflictShare, 100 * snapshot.ConflictRatio());
  return text;
}

}  // namespace deepshock
