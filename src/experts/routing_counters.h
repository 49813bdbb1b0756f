// SPDX-License-Identifier: Apache-2.0
// RoutingCounters: what the routers of a running model chose, counted: tokens by layer, expert and phase; how
// evenly the load lies; how active the named groups of experts are, and how often they conflict. A sink of
// RoutingStep, so that only rows that count are counted and a trace counts to the same numbers. OnStep on one
// thread, Snapshot on any.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "experts/group_masks.h"
#include "experts/routing_sink.h"

namespace deepshock {

// Counts at one moment; only ever grow, but for the window.
struct RoutingSnapshot {
  struct Layer {
    int layer = 0;
    std::vector<int64_t> prefill, decode;  // [E] tokens that the expert computed
    // Mean load over the largest: 1 is balanced, 1/E is one expert for all. 1 before anything was computed.
    double LoadBalance() const;
  };
  struct Group {
    std::string name;
    int64_t selections = 0;  // that fell on its experts
    // The same as a share of all selections, over the last tokens (RoutingCounters::kWindowTokens of them).
    double activation_ratio = 0;
  };
  int64_t prefill_tokens = 0, decode_tokens = 0;
  int64_t selections = 0;  // in all layers: tokens x K x layers, less those that controls left out
  std::vector<Layer> layers;
  std::vector<Group> groups;
  int64_t conflict_tokens =
      0;  // in which two or more groups each held at least kConflictShare of the gate weight

  int64_t tokens() const { return prefill_tokens + decode_tokens; }
  double ConflictRatio() const;
};

class RoutingCounters final : public RoutingSink {
 public:
  static constexpr double kConflictShare = 0.25;  // tau
  static constexpr int64_t kWindowTokens = 16384, kWindowParts = 16;

  // `groups`: null, or of the same shape; they stay as they are.
  explicit RoutingCounters(RoutingShape shape, std::shared_ptr<const GroupMasks> groups = nullptr);

  void OnStep(const RoutingStep& step) override;
  RoutingSnapshot Snapshot() const;

 private:
  // Some thousand tokens of the window.
  struct Part {
    int64_t tokens = 0, selections = 0;
    std::vector<int64_t> by_group;
  };
  void CountGroups(const RoutingStep& step, const RoutedRow& row, int64_t selections);

  const RoutingShape shape_;
  const std::shared_ptr<const GroupMasks> groups_;
  mutable std::mutex mutex_;
  std::array<std::vector<int64_t>, 2> tokens_;  // by phase: [layers, E]
  std::array<int64_t, 2> rows_{};
  int64_t selections_ = 0, conflicts_ = 0;
  std::vector<int64_t> by_group_;
  std::array<Part, kWindowParts> window_;
  size_t part_ = 0;             // the one that fills
  std::vector<double> shares_;  // [groups]
};

// A table for people: tokens, balance of each layer, groups.
std::string DescribeRouting(const RoutingSnapshot& snapshot);

}  // namespace deepshock
