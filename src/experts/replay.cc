// SPDX-License-Identifier: Apache-2.0
#include "experts/replay.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/attention_layout.h"

namespace deepshock {
namespace {

class ClairvoyantPolicy final : public CachePolicy {
 public:
  explicit ClairvoyantPolicy(const UseTrace& trace) : trace_(trace), next_(trace.space().size(), kNever) {
    // Backwards: when each use is followed by another of the same expert.
    size_t total = 0;
    for (const UseTrace::Layer& layer : trace.layers()) total += layer.count;
    following_.resize(total);
    for (size_t at = trace.layers().size(); at-- > 0;) {
      const UseTrace::Layer& layer = trace.layers()[at];
      for (size_t i = 0; i < layer.count; ++i) {
        int64_t& next = next_[trace.space().Index({layer.layer, trace.UsesOf(layer)[i].expert})];
        following_[layer.first + i] = next;
        next = static_cast<int64_t>(at);
      }
    }
  }

  std::string_view name() const override { return kClairvoyant; }
  void OnUse(int32_t, int64_t, std::span<const ExpertUse>) override {
    DS_CHECK(now_ < trace_.layers().size(), "another trace than this policy knows");
    const UseTrace::Layer& layer = trace_.layers()[now_++];
    const std::span<const ExpertUse> uses = trace_.UsesOf(layer);
    for (size_t i = 0; i < uses.size(); ++i) {
      next_[trace_.space().Index({layer.layer, uses[i].expert})] = following_[layer.first + i];
    }
  }
  double Worth(ExpertId id) const override { return -static_cast<double>(next_[trace_.space().Index(id)]); }

 private:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  const UseTrace& trace_;
  std::vector<int64_t> next_;       // [space.size()] index of the layer that needs it next
  std::vector<int64_t> following_;  // the same for each use, once it is over
  size_t now_ = 0;
};

// Lets states take memory from the experts and give it back, as the trace's sequences did.
class StateMemory {
 public:
  StateMemory(const UseTrace& trace, const ReplayOptions& options, Residency* residency)
      : changes_(trace.StateChanges()), options_(options), residency_(residency) {}

  // Before a pass.
  Status Advance(int64_t pass) {
    for (; next_ < changes_.size() && changes_[next_].pass <= pass; ++next_) {
      const UseTrace::StateChange& change = changes_[next_];
      tokens_ += change.to - change.from;
      DS_RETURN_IF_ERROR(Set(pass));
    }
    return {};
  }

 private:
  Status Set(int64_t pass) {
    if (options_.state_token_bytes == 0) return {};
    evicted_.clear();
    const int64_t bytes = tokens_ * options_.state_token_bytes;
    if (residency_->SetCapacity(options_.capacity_bytes - bytes, &evicted_)) return {};
    return Fail(
        "memory for experts and states: found {} bytes, of which states take {} in pass {}; too few are "
        "left for experts",
        options_.capacity_bytes, bytes, pass);
  }

  std::vector<UseTrace::StateChange> changes_;
  const ReplayOptions& options_;
  Residency* residency_;
  size_t next_ = 0;
  int64_t tokens_ = 0;
  std::vector<ExpertId> evicted_;
};

}  // namespace

void UseTrace::OnStep(const RoutingStep& step) {
  if (step.rows.empty()) return;
  for (const RoutedRow& row : step.rows) {
    State& state = states_[row.request];
    state.last_pass = num_passes_;
    if (row.position < state.capacity) continue;
    const int64_t from = state.capacity;
    state.capacity = (row.position / kKvGroup + 1) * kKvGroup;  // as runtime/kv_cache.h grows
    if (from > 0 && growth_[state.growth].pass == num_passes_) {
      growth_[state.growth].to = state.capacity;
    } else {
      state.growth = growth_.size();
      growth_.push_back({num_passes_, from, state.capacity});
    }
  }
  std::vector<int32_t> rows(static_cast<size_t>(space_.num_experts()));
  std::vector<ExpertUse> uses;
  for (const LayerRouting& layer : step.layers) {
    std::fill(rows.begin(), rows.end(), 0);
    for (const RoutedRow& row : step.rows) {
      for (const int32_t expert : step.Experts(layer, row)) {
        if (expert >= 0) ++rows[static_cast<size_t>(expert)];
      }
    }
    uses.clear();
    for (size_t e = 0; e < rows.size(); ++e) {
      if (rows[e] > 0) uses.push_back({static_cast<int32_t>(e), rows[e]});
    }
    Add(layer.layer, step.num_pass_rows, uses);
  }
  num_tokens_ += static_cast<int64_t>(step.rows.size());
  num_decoded_ += std::count_if(step.rows.begin(), step.rows.end(),
                                [](const RoutedRow& row) { return row.phase == RoutingPhase::kDecode; });
}

void UseTrace::Add(int32_t layer, int64_t num_rows, std::span<const ExpertUse> uses) {
  if (layers_.empty() || layer <= layers_.back().layer) ++num_passes_;
  layers_.push_back({layer, num_rows, uses_.size(), uses.size()});
  uses_.insert(uses_.end(), uses.begin(), uses.end());
}

std::vector<UseTrace::StateChange> UseTrace::StateChanges() const {
  std::vector<StateChange> changes = growth_;
  for (const auto& [request, state] : states_) changes.push_back({state.last_pass + 1, state.capacity, 0});
  // What ends makes room before what begins.
  std::stable_sort(changes.begin(), changes.end(), [](const StateChange& a, const StateChange& b) {
    return a.pass != b.pass ? a.pass<b.pass : (a.to == 0)>(b.to == 0);
  });
  return changes;
}

std::unique_ptr<CachePolicy> MakeClairvoyantPolicy(const UseTrace& trace) {
  return std::make_unique<ClairvoyantPolicy>(trace);
}

Result<ReplayResult> Replay(const UseTrace& trace, const std::vector<int64_t>& layer_bytes,
                            const ReplayOptions& options) {
  const int64_t least = Residency::MinCapacity(layer_bytes);
  if (options.capacity_bytes < least) {
    return Fail("memory for experts: expected at least {} bytes, which the largest takes, found {}", least,
                options.capacity_bytes);
  }
  std::unique_ptr<CachePolicy> policy;
  if (options.policy == kClairvoyant) {
    policy = MakeClairvoyantPolicy(trace);
  } else {
    DS_ASSIGN(policy, MakeCachePolicy(options.policy, trace.space(), options.profiles));
  }
  Residency residency(trace.space(), layer_bytes, options.capacity_bytes, std::move(policy));
  for (const ExpertId& id : options.pinned) {
    if (!residency.Pin(id)) {
      return Fail("pinned experts: expected at most {} bytes, found {} and more",
                  options.capacity_bytes - least, residency.pinned_bytes());
    }
  }
  std::vector<ExpertId> evicted;
  for (const ExpertId& id : options.warm) {
    if (!residency.Admit(id, Residency::Unasked::kWarmup, &evicted)) break;
  }
  StateMemory states(trace, options, &residency);
  ExpertWave wave;
  int64_t pass = -1;
  for (size_t at = 0; at < trace.layers().size(); ++at) {
    const UseTrace::Layer& layer = trace.layers()[at];
    if (at == 0 || layer.layer <= trace.layers()[at - 1].layer) DS_RETURN_IF_ERROR(states.Advance(++pass));
    residency.BeginLayer(layer.layer, layer.num_rows, trace.UsesOf(layer));
    while (residency.NextWave(&wave)) {
    }
  }
  return ReplayResult{std::string(residency.policy().name()), residency.stats()};
}

}  // namespace deepshock
