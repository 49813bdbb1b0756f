// SPDX-License-Identifier: Apache-2.0
// DiskStore: experts on disk, and as many of them in memory as a hard limit allows. Owns the memory, in slots
// that hold any one expert's record, and the reader; Residency keeps the books and decides who leaves.
// Records go from the file straight into a slot, in the kernels' layout. It is also the MemoryBudget that the
// states of sequences share with the slots: state that grows takes slots away, and gives them back. One
// thread; see experts/store.h.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/file_reader.h"
#include "base/huge_memory.h"
#include "base/memory_budget.h"
#include "experts/prefetch_controller.h"
#include "experts/residency.h"
#include "experts/store.h"

namespace deepshock {

// An expert's record on disk.
struct StoredExpert {
  ExpertId id;
  int file = 0;        // of the reader's
  int64_t offset = 0;  // a multiple of FileReader::kAlignment
  int64_t bytes = 0;
  int64_t gate = 0, up = 0, down = 0;  // where in the record they begin
  ExpertWeights weights;  // shapes; only the biases' data counts, which stay in memory all the time
};

class DiskStore final : public ExpertStore, public MemoryBudget {
 public:
  struct Options {
    int64_t memory_bytes = 0;    // for slots and states together
    int64_t min_slots = 1;       // states never take more than leaves these
    std::string policy = "lru";  // MakeCachePolicy's
  };
  // `experts`: every one of each layer that has any here, as many in each, by layer, then expert; a token
  // takes `num_chosen` of a layer. Fails when memory_bytes does not hold min_slots. What all experts do not
  // need goes to states.
  static Result<std::unique_ptr<DiskStore>> Create(int num_chosen, std::vector<StoredExpert> experts,
                                                   std::unique_ptr<FileReader> reader,
                                                   const Options& options);
  // Bytes of a slot for these experts: the largest record in whole blocks.
  static int64_t SlotBytes(const std::vector<StoredExpert>& experts);

  bool HasLayer(int layer) const override { return residency_.space().Has({layer, 0}); }
  Status Use(int layer, int64_t num_rows, std::span<const ExpertUse> uses, const Compute& compute) override;
  void Prefetch(int layer, std::span<const int32_t> experts) override;
  ExpertStoreStats stats() const override;
  const std::string& description() const override { return reader_->description(); }
  bool WantsHints(int64_t num_rows) const override;
  Status Warm(std::span<const ExpertId> experts, const std::function<bool(int64_t)>& progress) override;
  bool Pin(ExpertId id) override { return residency_.Pin(id); }
  void SetPolicy(std::unique_ptr<CachePolicy> policy) override { residency_.SetPolicy(std::move(policy)); }
  const Residency& residency() const override { return residency_; }

  // Of a state's memory. Taking may evict experts.
  Status Take(int64_t bytes) override;
  void Return(int64_t bytes) override;

 private:
  enum class Place { kDisk, kReading, kMemory };
  struct Entry {
    StoredExpert stored;
    ExpertWeights weights;  // in its slot
    Place place = Place::kDisk;
    int slot = -1;  // unless kDisk
    Status error;   // of the last read
  };

  DiskStore(std::vector<StoredExpert> experts, std::unique_ptr<FileReader> reader, Residency residency,
            int64_t slot_bytes);
  Entry& Of(ExpertId id) { return entries_[residency_.space().Index(id)]; }
  std::byte* SlotMemory(int slot) const { return arena_->data() + slot * slot_bytes_; }
  int num_slots() const { return static_cast<int>(residency_.capacity_bytes() / slot_bytes_); }

  void FreeSlots(const std::vector<ExpertId>& evicted);
  // Into a slot that is free.
  void StartRead(ExpertId id, bool urgent);
  void Land(const FileReadResult& result);
  // Times passes for the controller: a layer's turn begins, or ends.
  void TurnBegins(int layer, int64_t num_rows);
  // Takes note of reads that have ended; with `wait`, sleeps until one has.
  void Collect(bool wait);
  // Computes a wave of a layer as its experts come. `begun`: compute has been called for this layer.
  Status RunWave(const ExpertWave& wave, const Compute& compute, bool* begun);
  // Moves what is no longer being read from `reading` to `ready`.
  Status SortOut(std::vector<ExpertId>* reading, std::vector<ExpertId>* ready);

  Residency residency_;  // in units of slots: its capacity is what states leave
  std::vector<Entry> entries_;
  int64_t slot_bytes_;
  int64_t min_slots_ = 1;
  std::shared_ptr<HugeMemory> arena_;
  std::vector<int> free_slots_;     // the last one is used first
  std::vector<int> retired_slots_;  // their memory is the states'
  int64_t spare_bytes_ = 0;         // neither slots' nor states'
  int num_reading_ = 0;
  PrefetchController prefetching_;
  using Clock = std::chrono::steady_clock;
  int last_layer_ = -1;  // of the pass under way
  int64_t pass_rows_ = 0;
  Clock::time_point pass_began_, turn_ended_;
  bool in_turn_ = false;
  ExpertStoreStats stats_;              // what residency_ does not count
  std::unique_ptr<FileReader> reader_;  // last: it must stop before the arena goes
};

}  // namespace deepshock
