// SPDX-License-Identifier: Apache-2.0
#include "experts/disk_store.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/byte_size.h"
#include "base/check.h"

namespace deepshock {
namespace {

constexpr int kMostPrefetches = 32;     // reads under way beyond which hints are not followed
constexpr int64_t kMostHintedRows = 8;  // a pass of more uses most experts anyway

int64_t RoundUp(int64_t bytes) {
  constexpr int64_t kAlignment = FileReader::kAlignment;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

ExpertSpace SpaceOf(const std::vector<StoredExpert>& experts, int num_chosen) {
  std::vector<int32_t> layers;
  for (const StoredExpert& expert : experts) {
    if (layers.empty() || layers.back() != expert.id.layer) layers.push_back(expert.id.layer);
  }
  DS_CHECK(!layers.empty() && experts.size() % layers.size() == 0, "as many experts in each layer");
  ExpertSpace space(layers, static_cast<int>(experts.size() / layers.size()), num_chosen);
  for (size_t i = 0; i < experts.size(); ++i) {
    DS_CHECK(space.Has(experts[i].id) && space.Index(experts[i].id) == i, "experts are in order");
  }
  return space;
}

}  // namespace

int64_t DiskStore::SlotBytes(const std::vector<StoredExpert>& experts) {
  int64_t bytes = 0;
  for (const StoredExpert& expert : experts) bytes = std::max(bytes, RoundUp(expert.bytes));
  return bytes;
}

DiskStore::DiskStore(std::vector<StoredExpert> experts, std::unique_ptr<FileReader> reader,
                     Residency residency, int64_t slot_bytes)
    : residency_(std::move(residency)), slot_bytes_(slot_bytes), reader_(std::move(reader)) {
  entries_.resize(experts.size());
  for (size_t i = 0; i < experts.size(); ++i) {
    stats_.disk_bytes += experts[i].bytes;
    entries_[i].stored = std::move(experts[i]);
  }
}

Result<std::unique_ptr<DiskStore>> DiskStore::Create(int num_chosen, std::vector<StoredExpert> experts,
                                                     std::unique_ptr<FileReader> reader,
                                                     const Options& options) {
  const int64_t slot_bytes = SlotBytes(experts), num_experts = static_cast<int64_t>(experts.size());
  DS_CHECK(slot_bytes > 0 && options.min_slots >= 1, "a store of experts");
  const int64_t num_slots = std::min(num_experts, options.memory_bytes / slot_bytes);
  const int64_t min_slots = std::min(options.min_slots, num_experts);
  if (num_slots < min_slots) {
    return Fail("memory for experts: expected at least {}, {} experts of {}, found {}",
                FormatByteSize(min_slots * slot_bytes), min_slots, FormatByteSize(slot_bytes),
                FormatByteSize(options.memory_bytes));
  }
  const ExpertSpace space = SpaceOf(experts, num_chosen);
  DS_ASSIGN(std::unique_ptr<CachePolicy> policy, MakeCachePolicy(options.policy, space, {}));
  // Every expert counts as a slot.
  Residency residency(space, std::vector<int64_t>(space.num_layers(), slot_bytes), num_slots * slot_bytes,
                      std::move(policy));
  std::unique_ptr<DiskStore> store(
      new DiskStore(std::move(experts), std::move(reader), std::move(residency), slot_bytes));
  DS_ASSIGN(store->arena_, HugeMemory::Allocate(static_cast<size_t>(num_slots * slot_bytes)));
  store->min_slots_ = min_slots;
  store->spare_bytes_ = options.memory_bytes - num_slots * slot_bytes;
  for (auto slot = static_cast<int>(num_slots) - 1; slot >= 0; --slot) store->free_slots_.push_back(slot);
  return store;
}

void DiskStore::FreeSlots(const std::vector<ExpertId>& evicted) {
  for (const ExpertId id : evicted) {
    Entry& entry = Of(id);
    DS_CHECK(entry.place == Place::kMemory, "only what is in memory leaves it");
    free_slots_.push_back(std::exchange(entry.slot, -1));
    entry.place = Place::kDisk;
    --stats_.num_resident;
    stats_.resident_bytes -= entry.stored.bytes;
  }
}

void DiskStore::StartRead(ExpertId id, bool urgent) {
  Entry& entry = Of(id);
  DS_CHECK(!free_slots_.empty(), "the books leave a slot for what is read");
  entry.slot = free_slots_.back();
  free_slots_.pop_back();
  entry.place = Place::kReading;
  entry.error = {};
  ++num_reading_;
  const StoredExpert& stored = entry.stored;
  reader_->Start({residency_.space().Index(id), stored.file, stored.offset, stored.bytes,
                  SlotMemory(entry.slot), urgent});
}

void DiskStore::Land(const FileReadResult& result) {
  Entry& entry = entries_[result.tag];
  --num_reading_;
  if (!result.status.ok()) {
    residency_.Remove(entry.stored.id);
    free_slots_.push_back(std::exchange(entry.slot, -1));
    entry.place = Place::kDisk;
    entry.error = result.status;
    ++stats_.failed_loads;
    return;
  }
  residency_.Hold(entry.stored.id, false);
  const std::byte* record = SlotMemory(entry.slot);
  entry.weights = entry.stored.weights;
  entry.weights.gate.data = record + entry.stored.gate;
  entry.weights.up.data = record + entry.stored.up;
  entry.weights.down.data = record + entry.stored.down;
  entry.place = Place::kMemory;
  ++stats_.loads;
  ++stats_.num_resident;
  stats_.bytes_read += entry.stored.bytes;
  stats_.resident_bytes += entry.stored.bytes;
}

void DiskStore::Collect(bool wait) {
  if (wait) {
    DS_CHECK(num_reading_ > 0, "something is being read");
    const auto start = std::chrono::steady_clock::now();
    Land(reader_->Wait());
    stats_.stall_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  while (num_reading_ > 0) {
    const std::optional<FileReadResult> result = reader_->Poll();
    if (!result) break;
    Land(*result);
  }
}

Status DiskStore::SortOut(std::vector<ExpertId>* reading, std::vector<ExpertId>* ready) {
  Status status;
  std::erase_if(*reading, [&](ExpertId id) {
    const Entry& entry = Of(id);
    if (entry.place == Place::kReading) return false;
    if (entry.place == Place::kMemory) {
      ready->push_back(id);
    } else {
      status = entry.error;
    }
    return true;
  });
  return status;
}

Status DiskStore::RunWave(const ExpertWave& wave, const Compute& compute, bool* begun) {
  std::vector<ExpertId> reading, ready;
  FreeSlots(wave.evicted);
  for (const ExpertId id : wave.load) {
    StartRead(id, true);
    reading.push_back(id);
  }
  for (const ExpertId id : wave.ready) {
    if (Of(id).place == Place::kReading) {  // because of a hint
      ++stats_.late_hits;
      reader_->Hurry(residency_.space().Index(id));
      reading.push_back(id);
    } else {
      ready.push_back(id);
    }
  }
  Status status;
  while (status.ok() && (!*begun || !ready.empty() || !reading.empty())) {
    if (*begun && ready.empty()) {
      Collect(true);
    } else {
      std::vector<LeasedExpert> leased;
      for (const ExpertId id : ready) leased.push_back({id.expert, &Of(id).weights});
      compute(leased);
      ready.clear();
      *begun = true;
      Collect(false);
    }
    status = SortOut(&reading, &ready);
  }
  // After an error: reads that go on are nobody's, and keep their slots until they end.
  for (const ExpertId id : reading) residency_.Hold(id, true);
  return status;
}

Status DiskStore::Use(int layer, int64_t num_rows, std::span<const ExpertUse> uses, const Compute& compute) {
  DS_CHECK(!in_turn_, "one layer at a time");
  in_turn_ = true;
  TurnBegins(layer, num_rows);
  Collect(false);
  residency_.BeginLayer(layer, num_rows, uses);
  Status status;
  ExpertWave wave;
  bool begun = false;
  while (status.ok() && residency_.NextWave(&wave)) status = RunWave(wave, compute, &begun);
  if (!status.ok()) residency_.Abandon();
  in_turn_ = false;
  turn_ended_ = Clock::now();
  return status;
}

void DiskStore::TurnBegins(int layer, int64_t num_rows) {
  if (layer <= last_layer_ || last_layer_ < 0) {
    // What lies between passes (sampling, a user who thinks) is nobody's cost.
    if (last_layer_ >= 0 && pass_rows_ <= kMostHintedRows &&
        num_slots() < static_cast<int>(entries_.size())) {
      prefetching_.OnPass(pass_rows_, std::chrono::duration<double>(turn_ended_ - pass_began_).count());
    }
    pass_began_ = Clock::now();
    pass_rows_ = num_rows;
  }
  last_layer_ = layer;
}

bool DiskStore::WantsHints(int64_t num_rows) const {
  return num_rows <= kMostHintedRows && prefetching_.on() && num_slots() < static_cast<int>(entries_.size());
}

Status DiskStore::Warm(std::span<const ExpertId> experts, const std::function<bool(int64_t)>& progress) {
  const double stalled = stats_.stall_seconds;
  std::vector<ExpertId> reading, ready, nobody;
  Status status;
  int64_t bytes = 0;
  size_t next = 0;
  bool more = true;
  while (more || num_reading_ > 0) {
    while (more && num_reading_ < kMostPrefetches) {
      if (next == experts.size()) {
        more = false;
        break;
      }
      const ExpertId id = experts[next++];
      if (residency_.Contains(id)) continue;
      more = residency_.Admit(id, Residency::Unasked::kWarmup, &nobody);
      if (!more) break;
      residency_.Hold(id, true);
      StartRead(id, false);
      reading.push_back(id);
    }
    if (num_reading_ == 0) break;
    Collect(true);
    ready.clear();
    const Status landed = SortOut(&reading, &ready);
    if (!landed.ok()) status = landed;
    for (const ExpertId id : ready) bytes += Of(id).stored.bytes;
    if (!status.ok() || (progress && !progress(bytes))) more = false;
  }
  stats_.stall_seconds = stalled;  // nobody was kept waiting
  return status;
}

void DiskStore::Prefetch(int layer, std::span<const int32_t> experts) {
  Collect(false);
  std::vector<ExpertId> evicted;
  for (const int32_t expert : experts) {
    const ExpertId id = {layer, expert};
    if (residency_.Contains(id)) continue;
    if (num_reading_ >= kMostPrefetches) return;
    evicted.clear();
    if (!residency_.Admit(id, Residency::Unasked::kForetold, &evicted)) return;
    FreeSlots(evicted);
    residency_.Hold(id, true);
    StartRead(id, false);
  }
}

ExpertStoreStats DiskStore::stats() const {
  ExpertStoreStats stats = stats_;
  const ResidencyStats& books = residency_.stats();
  stats.hits = books.hits;
  stats.misses = books.touched - books.hits;
  stats.prefetches = books.prefetched;
  stats.prefetch_hits = books.prefetched_used;
  stats.evictions = books.evictions;
  stats.num_experts = static_cast<int64_t>(entries_.size());
  stats.capacity = num_slots();
  stats.prefetching = prefetching_.Describe();
  return stats;
}

Status DiskStore::Take(int64_t bytes) {
  DS_CHECK(!in_turn_, "states grow between passes");
  const int64_t lacking = std::max<int64_t>(0, bytes - spare_bytes_);
  const int64_t count = lacking / slot_bytes_ + (lacking % slot_bytes_ != 0 ? 1 : 0);
  const auto refuse = [&]() -> Status {
    return Fail(
        "memory: expected at most {} for states beside the {} experts that a pass needs, found {} more "
        "asked for",
        FormatByteSize(spare_bytes_ + (num_slots() - min_slots_) * slot_bytes_), min_slots_,
        FormatByteSize(bytes));
  };
  if (num_slots() - count < min_slots_) return refuse();
  if (count > 0) {
    std::vector<ExpertId> evicted;
    while (!residency_.SetCapacity(residency_.capacity_bytes() - count * slot_bytes_, &evicted)) {
      if (num_reading_ == 0) return refuse();  // the rest is pinned
      Collect(true);
    }
    FreeSlots(evicted);
    for (int64_t i = 0; i < count; ++i) {
      const int slot = free_slots_.front();  // likely one that was never used
      free_slots_.erase(free_slots_.begin());
      arena_->GiveBack(static_cast<size_t>(slot * slot_bytes_), static_cast<size_t>(slot_bytes_));
      retired_slots_.push_back(slot);
    }
    spare_bytes_ += count * slot_bytes_;
  }
  spare_bytes_ -= bytes;
  return {};
}

void DiskStore::Return(int64_t bytes) {
  spare_bytes_ += bytes;
  while (!retired_slots_.empty() && spare_bytes_ >= slot_bytes_) {
    spare_bytes_ -= slot_bytes_;
    free_slots_.push_back(retired_slots_.back());
    retired_slots_.pop_back();
    std::vector<ExpertId> none;
    residency_.SetCapacity(residency_.capacity_bytes() + slot_bytes_, &none);
  }
}

}  // namespace deepshock
