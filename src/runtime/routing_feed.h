// SPDX-License-Identifier: Apache-2.0
// RoutingFeed: keeps what the routers chose in the pass that runs until the scheduler knows which rows count,
// and hands those to the sinks. With no sink and nobody who asks it observes nothing and costs nothing. Owned
// by the scheduler, on its thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "experts/routing_sink.h"
#include "model/model.h"

namespace deepshock {

class RoutingFeed {
 public:
  // Both must outlive their being here.
  void AddSink(RoutingSink* sink) { sinks_.push_back(sink); }
  void RemoveSink(RoutingSink* sink) { std::erase(sinks_, sink); }

  // A pass begins: who is to observe it, or null. `wanted`: a request asks, whether or not there is a sink.
  ForwardObserver* Begin(bool wanted);
  // Row `first_row` of the pass and those after it count: tokens at `position` and after.
  void Count(uint64_t request, int64_t position, RoutingPhase phase, std::span<const int32_t> tokens,
             int64_t first_row);
  // The pass ends, as number `pass` of all, which rise: the sinks get what counted.
  void End(uint64_t pass, int64_t num_pass_rows);

  // Of the pass, until the next begins.
  struct Layer {
    int layer = 0;
    int num_chosen = 0;                  // K
    std::vector<int32_t> experts;        // [T, K]
    std::vector<float> weights;          // [T, K]
    std::vector<RoutingChange> changes;  // [T], or empty

    std::span<const int32_t> Experts(int64_t row) const { return std::span(experts).subspan(At(row), K()); }
    std::span<const float> Weights(int64_t row) const { return std::span(weights).subspan(At(row), K()); }

   private:
    size_t K() const { return static_cast<size_t>(num_chosen); }
    size_t At(int64_t row) const { return static_cast<size_t>(row) * K(); }
  };
  std::span<const Layer> layers() const { return std::span(observer_.layers).first(observer_.num_layers); }

 private:
  struct Observer final : ForwardObserver {
    void OnRouting(const RoutingView& routing) override;
    std::vector<Layer> layers;  // kept from pass to pass, so that memory is asked for once
    size_t num_layers = 0;      // of this pass
  };

  std::vector<RoutingSink*> sinks_;
  Observer observer_;
  bool active_ = false;
  std::vector<RoutedRow> rows_;
  std::vector<LayerRouting> views_;
};

}  // namespace deepshock
