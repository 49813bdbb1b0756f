// SPDX-License-Identifier: Apache-2.0
// Replaying a route trace through the books of a store that never was: how often experts would have been in
// memory, and what would have been read, with any memory and policy, and with the best decisions that
// hindsight allows. Decisions are Residency's, as in the real store; only time and I/O are missing. One
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "experts/cache_policy.h"
#include "experts/expert_space.h"
#include "experts/residency.h"
#include "experts/routing_sink.h"

namespace deepshock {

// What passes asked for, as a store sees it: kept whole in memory, 8 bytes for each expert of a pass and
// layer.
class UseTrace final : public RoutingSink {
 public:
  explicit UseTrace(const ExpertSpace& space) : space_(space) {}

  void OnStep(const RoutingStep& step) override;
  // A layer of the pass that is under way; a layer that does not come after the last one begins another pass.
  void Add(int32_t layer, int64_t num_rows, std::span<const ExpertUse> uses);

  const ExpertSpace& space() const { return space_; }
  int64_t num_tokens() const { return num_tokens_; }    // rows that count
  int64_t num_decoded() const { return num_decoded_; }  // of them generated
  int64_t num_passes() const { return num_passes_; }
  // One layer of a pass, in the order they came.
  struct Layer {
    int32_t layer;
    int64_t num_rows;
    size_t first, count;  // in uses()
  };
  const std::vector<Layer>& layers() const { return layers_; }
  // A state grew before pass `pass` (from 0), to room for so many tokens from room for so many. One that ends
  // after a pass has `to` 0 and that pass's number plus 1.
  struct StateChange {
    int64_t pass = 0;
    int64_t from = 0, to = 0;  // tokens
  };
  // In the order in which they happen.
  std::vector<StateChange> StateChanges() const;
  std::span<const ExpertUse> UsesOf(const Layer& layer) const {
    return std::span(uses_).subspan(layer.first, layer.count);
  }

 private:
  ExpertSpace space_;
  std::vector<Layer> layers_;
  std::vector<ExpertUse> uses_;
  int64_t num_tokens_ = 0, num_decoded_ = 0, num_passes_ = 0;
  struct State {
    int64_t capacity = 0, last_pass = 0;
    size_t growth = 0;  // its last entry of growth_
  };
  std::map<uint64_t, State> states_;  // by request
  std::vector<StateChange> growth_;
};

// The policy that knows the trace: what is needed again last leaves (Belady 1966). Among experts of one size
// nothing has more hits; with several sizes it is no strict bound. `trace` outlives it, and what is replayed
// is this trace from its beginning.
inline constexpr std::string_view kClairvoyant = "clairvoyant";
std::unique_ptr<CachePolicy> MakeClairvoyantPolicy(const UseTrace& trace);

struct ReplayOptions {
  int64_t capacity_bytes = 0;         // for experts and states; at least Residency::MinCapacity
  int64_t state_token_bytes = 0;      // what a token takes in a sequence's state; 0: states do not count
  std::string policy = "auto";        // MakeCachePolicy's, or kClairvoyant
  std::vector<ExpertRates> profiles;  // MakeCachePolicy's
  std::vector<ExpertId> warm;         // loaded before the first pass, in this order, while they fit
  std::vector<ExpertId> pinned;       // never leave once they are in memory
};

struct ReplayResult {
  std::string policy;
  ResidencyStats stats;
};

// layer_bytes [layers]: what an expert takes.
Result<ReplayResult> Replay(const UseTrace& trace, const std::vector<int64_t>& layer_bytes,
                            const ReplayOptions& options);

}  // namespace deepshock
