// SPDX-License-Identifier: Apache-2.0
// RoutingSink: who wants to know what the routers chose. The scheduler feeds it once a pass, after it is
// known which rows count: prompt tokens computed for the first time, and generated tokens that stay. Padding,
// rejected drafts, replayed history and MTP layers never arrive. The reader of a trace feeds the same
// interface, so that what counts live can be counted again from a file. Called on the scheduler's thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace deepshock {

// What of a model its routers are made for.
struct RoutingShape {
  int num_experts = 0;      // E; 0: a dense model
  int num_chosen = 0;       // K
  std::vector<int> layers;  // those with experts, ascending; MTP layers not counted
};

enum class RoutingPhase : uint8_t { kPrefill, kDecode };  // a prompt's token; a generated one

struct RoutedRow {
  uint64_t request = 0;  // as Engine::Submit numbers them
  int64_t position = 0;  // in its sequence, from 0
  int32_t token = 0;
  RoutingPhase phase = RoutingPhase::kPrefill;
  int32_t row = 0;  // in LayerRouting
};

// What one layer's router chose, for all rows of the pass; which of them count says RoutingStep::rows.
struct LayerRouting {
  int layer = 0;
  std::span<const int32_t>
      experts;                     // [T, K]; -1: left out by the request's control, behind those that remain
  std::span<const float> weights;  // [T, K] as applied; 0 where left out
};

// One pass of the model. Ids are valid: experts are -1 or 0 .. E-1, rows 0 .. T-1.
struct RoutingStep {
  uint64_t number = 0;        // of the pass, rising
  int64_t num_pass_rows = 0;  // computed together, those that do not count included
  int num_chosen = 0;         // K
  std::span<const RoutedRow> rows;
  std::span<const LayerRouting> layers;  // those with experts, ascending

  std::span<const int32_t> Experts(const LayerRouting& layer, const RoutedRow& row) const {
    const auto k = static_cast<size_t>(num_chosen);
    return layer.experts.subspan(static_cast<size_t>(row.row) * k, k);
  }
  std::span<const float> Weights(const LayerRouting& layer, const RoutedRow& row) const {
    const auto k = static_cast<size_t>(num_chosen);
    return layer.weights.subspan(static_cast<size_t>(row.row) * k, k);
  }
};

class RoutingSink {
 public:
  virtual ~RoutingSink() = default;
  // Views are valid during the call only.
  virtual void OnStep(const RoutingStep& step) = 0;
};

}  // namespace deepshock
