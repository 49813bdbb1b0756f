// SPDX-License-Identifier: Apache-2.0
#include "runtime/routing_feed.h"

namespace deepshock {

void RoutingFeed::Observer::OnRouting(const RoutingView& routing) {
  if (num_layers == layers.size()) layers.emplace_back();
  Layer& layer = layers[num_layers++];
  layer.layer = routing.layer;
  layer.num_chosen = routing.num_chosen;
  layer.experts.assign(routing.experts.begin(), routing.experts.end());
  layer.weights.assign(routing.weights.begin(), routing.weights.end());
  layer.changes.assign(routing.changes.begin(), routing.changes.end());
}

ForwardObserver* RoutingFeed::Begin(bool wanted) {
  observer_.num_layers = 0;
  active_ = wanted || !sinks_.empty();
  return active_ ? &observer_ : nullptr;
}

void RoutingFeed::Count(uint64_t request, int64_t position, RoutingPhase phase,
                        std::span<const int32_t> tokens, int64_t first_row) {
  if (sinks_.empty() || !active_) return;
  for (const int32_t token : tokens)
    rows_.push_back({request, position++, token, phase, static_cast<int32_t>(first_row++)});
}

void RoutingFeed::End(uint64_t pass, int64_t num_pass_rows) {
  if (observer_.num_layers > 0 && !rows_.empty()) {
    views_.clear();
    for (const Layer& layer : layers()) views_.push_back({layer.layer, layer.experts, layer.weights});
    const RoutingStep step{pass, num_pass_rows, layers()[0].num_chosen, rows_, views_};
    for (RoutingSink* sink : sinks_) sink->OnStep(step);
  }
  rows_.clear();
}

}  // namespace deepshock
