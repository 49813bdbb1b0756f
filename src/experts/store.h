// SPDX-License-Identifier: Apache-2.0
// ExpertStore: where the weights of routed experts are, and how they get to where they are computed. A model
// without one has all its weights at hand. The forward pass asks for a layer's experts and computes what it
// is handed, in whatever order that comes; a store on other tiers (an accelerator's memory, other hosts)
// looks the same from there. One thread, which is that of the forward pass.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "experts/cache_policy.h"
#include "experts/expert_weights.h"
#include "experts/residency.h"

namespace deepshock {

// An expert whose weights are in memory for as long as it is being computed.
struct LeasedExpert {
  int32_t expert = 0;
  const ExpertWeights* weights = nullptr;
};

// Since the store was made, and at this moment.
struct ExpertStoreStats {
  // Experts that a layer asked for (each once a pass and layer): present or already being read; neither.
  int64_t hits = 0, misses = 0;
  int64_t late_hits = 0;      // of the hits, those that had to be waited for
  int64_t prefetches = 0;     // reads begun because of Prefetch
  int64_t prefetch_hits = 0;  // of these, experts that were used before they were evicted
  int64_t loads = 0, failed_loads = 0, evictions = 0;
  int64_t bytes_read = 0;
  double stall_seconds = 0;  // the pass had nothing to compute and waited for reads
  std::string prefetching;   // whether Prefetch pays, as found out by trying
  int64_t num_experts = 0, num_resident = 0;
  int64_t disk_bytes = 0;      // of all experts
  int64_t resident_bytes = 0;  // of those in memory
  int64_t capacity = 0;        // experts that memory has room for at this moment
  double hit_rate() const {
    return hits + misses == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(hits + misses);
  }
};

class ExpertStore {
 public:
  using Compute = std::function<void(std::span<const LeasedExpert>)>;
  virtual ~ExpertStore() = default;

  // Whether it brings the experts of this layer; those of others are at hand.
  virtual bool HasLayer(int layer) const = 0;

  // One layer's turn in a pass of `num_rows` rows: hands each expert of `uses` (ascending) to `compute` once,
  // several at a time as they come to be in memory; others are read meanwhile. The first call comes at once,
  // with those that are there, even when there are none. Leases end with the call. Fails when weights cannot
  // be read; then some experts have not been handed out, and the store goes on working.
  virtual Status Use(int layer, int64_t num_rows, std::span<const ExpertUse> uses,
                     const Compute& compute) = 0;

  // A hint that these experts will be wanted soon, the most likely first. Takes no place from experts in use
  // or worth more, and gives way to reads that a pass waits for.
  virtual void Prefetch(int layer, std::span<const int32_t> experts) = 0;

  // Whether hints are wanted in the pass that is under way, of so many rows: not while they do not pay.
  virtual bool WantsHints(int64_t num_rows) const = 0;

  // Before the first request, reads these experts in this order while they fit without sending anybody away.
  // `progress`, called now and then with the bytes so far, ends it by returning false. Fails when one cannot
  // be read; those before it stay.
  virtual Status Warm(std::span<const ExpertId> experts, const std::function<bool(int64_t)>& progress) = 0;
  // Once it is in memory it stays. False when there is no room for another pinned one.
  virtual bool Pin(ExpertId id) = 0;
  // Who leaves from now on; between passes.
  virtual void SetPolicy(std::unique_ptr<CachePolicy> policy) = 0;
  // What is in memory.
  virtual const Residency& residency() const = 0;

  virtual ExpertStoreStats stats() const = 0;
  // How weights are brought, for people: "io_uring, O_DIRECT".
  virtual const std::string& description() const = 0;
};

}  // namespace deepshock
