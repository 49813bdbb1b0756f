// SPDX-License-Identifier: Apache-2.0
// Residency: the books of one tier of memory: which experts are in it, which of them may leave, and who
// leaves when others come. No I/O, no memory, no threads: a store does with bytes what this decides (one
// thread, or under the store's lock), and a simulation of the store (experts/replay.h) decides the same.
//
// One layer of a pass goes like this:
//   BeginLayer(layer, rows, uses)          counted; what is in memory is a hit
//   while (NextWave(&wave)) {              usually once; more often where not all of them fit together
//     read wave.load into the places that wave.evicted left; compute wave.ready meanwhile, then wave.load
//   }
// What a wave names is leased, i.e. does not leave, until the next call of NextWave.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "experts/cache_policy.h"
#include "experts/expert_id.h"
#include "experts/expert_space.h"

namespace deepshock {

struct ExpertWave {
  std::vector<ExpertId> ready;    // in memory already, or on their way (prefetched)
  std::vector<ExpertId> load;     // to be read, in this order: most rows first
  std::vector<ExpertId> evicted;  // whose places are free for these
};

struct ResidencyStats {
  int64_t touched = 0;       // (pass, layer, expert): each expert that a pass used in a layer counts once
  int64_t hits = 0;          // of them in memory, or on their way, when their layer began
  int64_t loads = 0;         // the others: they were waited for
  int64_t loaded_bytes = 0;  // by these
  int64_t evictions = 0;
  int64_t waves = 0;
  int64_t prefetched = 0, prefetched_bytes = 0;
  int64_t prefetched_used = 0;    // of them used afterwards
  int64_t prefetched_unused = 0;  // left without having been used
  int64_t warmed = 0, warmed_bytes = 0;

  double hit_rate() const {
    return touched > 0 ? static_cast<double>(hits) / static_cast<double>(touched) : 0;
  }
};

class Residency {
 public:
  // layer_bytes [space.num_layers()]: what an expert of the layer takes. capacity_bytes is at least
  // MinCapacity(layer_bytes).
  Residency(const ExpertSpace& space, std::vector<int64_t> layer_bytes, int64_t capacity_bytes,
            std::unique_ptr<CachePolicy> policy);

  // The largest expert: with less nothing can be computed.
  static int64_t MinCapacity(std::span<const int64_t> layer_bytes);

  void BeginLayer(int32_t layer, int64_t num_rows, std::span<const ExpertUse> uses);
  bool NextWave(ExpertWave* wave);
  // Ends the layer early: nothing is leased, what has not been loaded will not be.
  void Abandon();

  // Brings in an expert that no pass asked for yet, unless it is there. False when it does not fit without
  // sending away one that is leased, pinned or, for kForetold, worth at least as much by the policy. What
  // leaves is appended to `evicted`. kWarmup sends nobody away.
  enum class Unasked { kForetold, kWarmup };
  bool Admit(ExpertId id, Unasked why, std::vector<ExpertId>* evicted);
  // While held it does not leave: a read into its place is under way.
  void Hold(ExpertId id, bool held);
  // Its read failed, or its place is wanted for something else. Pins, leases and holds do not keep it.
  void Remove(ExpertId id);

  // A pinned expert never leaves once it is in memory. False when the pinned ones would leave less than
  // MinCapacity for the others.
  bool Pin(ExpertId id);
  int64_t pinned_bytes() const { return pinned_bytes_; }

  // Fails (false) below MinCapacity beside the pinned ones, and while a layer's leases hold more. What has to
  // leave is appended to `evicted`.
  bool SetCapacity(int64_t bytes, std::vector<ExpertId>* evicted);
  int64_t capacity_bytes() const { return capacity_bytes_; }
  int64_t used_bytes() const { return used_bytes_; }

  bool Contains(ExpertId id) const { return Of(id).place >= 0; }
  int64_t BytesOf(ExpertId id) const { return layer_bytes_[space_.LayerIndex(id.layer)]; }
  // In no particular order.
  std::span<const ExpertId> resident() const { return resident_; }
  // The same, the one of most worth first.
  std::vector<ExpertId> ResidentByWorth() const;
  const ExpertSpace& space() const { return space_; }
  const CachePolicy& policy() const { return *policy_; }
  // Between passes; what the old one has seen is forgotten.
  void SetPolicy(std::unique_ptr<CachePolicy> policy);
  const ResidencyStats& stats() const { return stats_; }

 private:
  struct Entry {
    int32_t place = -1;  // in resident_; -1: not in memory
    bool leased = false, pinned = false, held = false;
    bool unused = false;  // prefetched and not used yet
  };
  struct Victim {
    double worth;
    ExpertId id;
  };

  const Entry& Of(ExpertId id) const { return entries_[space_.Index(id)]; }
  Entry& Of(ExpertId id) { return entries_[space_.Index(id)]; }
  void Insert(ExpertId id);
  // Those that may leave, the one of least worth first out.
  void CollectVictims();
  // Sends away victims until `bytes` are free; false, and nobody left, when there are too few of them or one
  // is worth `worth_limit` or more.
  bool MakeRoom(int64_t bytes, double worth_limit, std::vector<ExpertId>* evicted);

  ExpertSpace space_;
  std::vector<int64_t> layer_bytes_;  // [layers]
  int64_t min_capacity_, capacity_bytes_;
  int64_t used_bytes_ = 0, pinned_bytes_ = 0;
  std::unique_ptr<CachePolicy> policy_;
  std::vector<Entry> entries_;  // [space.size()]
  std::vector<ExpertId> resident_;
  std::vector<Victim> victims_;  // a heap
  bool victims_valid_ = false;
  // The layer under way.
  std::vector<ExpertId> ready_, to_load_;  // of the waves to come; to_load_ in reverse order
  std::vector<ExpertId> leased_;           // by the last wave
  ResidencyStats stats_;
};

}  // namespace deepshock
