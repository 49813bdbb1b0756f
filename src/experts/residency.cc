// SPDX-License-Identifier: Apache-2.0
#include "experts/residency.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace deepshock {
namespace {

constexpr double kAnyWorth = std::numeric_limits<double>::infinity();

}  // namespace

Residency::Residency(const ExpertSpace& space, std::vector<int64_t> layer_bytes, int64_t capacity_bytes,
                     std::unique_ptr<CachePolicy> policy)
    : space_(space),
      layer_bytes_(std::move(layer_bytes)),
      min_capacity_(MinCapacity(layer_bytes_)),
      capacity_bytes_(capacity_bytes),
      policy_(std::move(policy)),
      entries_(space.size()) {
  DS_CHECK(layer_bytes_.size() == space.num_layers(), "a size for each layer with experts");
  DS_CHECK(capacity_bytes >= min_capacity_, "less than one expert fits");
}

int64_t Residency::MinCapacity(std::span<const int64_t> layer_bytes) {
  return layer_bytes.empty() ? 0 : *std::max_element(layer_bytes.begin(), layer_bytes.end());
}

void Residency::BeginLayer(int32_t layer, int64_t num_rows, std::span<const ExpertUse> uses) {
  DS_CHECK(ready_.empty() && to_load_.empty() && leased_.empty(), "the layer before is not over");
  policy_->OnUse(layer, num_rows, uses);
  victims_valid_ = false;
  std::vector<ExpertUse> missing;
  for (const ExpertUse& use : uses) {
    const ExpertId id = {layer, use.expert};
    Entry& entry = Of(id);
    if (entry.place < 0) {
      missing.push_back(use);
      continue;
    }
    ready_.push_back(id);
    // Those that wait for a later wave must not leave meanwhile: they are hits.
    entry.leased = true;
    if (entry.unused) ++stats_.prefetched_used;
    entry.unused = false;
  }
  std::stable_sort(missing.begin(), missing.end(),
                   [](const ExpertUse& a, const ExpertUse& b) { return a.rows > b.rows; });
  for (auto use = missing.rbegin(); use != missing.rend(); ++use) to_load_.push_back({layer, use->expert});
  stats_.touched += static_cast<int64_t>(uses.size());
  stats_.hits += static_cast<int64_t>(ready_.size());
}

bool Residency::NextWave(ExpertWave* wave) {
  wave->ready.clear();
  wave->load.clear();
  wave->evicted.clear();
  for (const ExpertId& id : leased_) Of(id).leased = false;
  if (!leased_.empty()) victims_valid_ = false;
  leased_.clear();
  if (ready_.empty() && to_load_.empty()) return false;
  wave->ready.swap(ready_);
  leased_ = wave->ready;
  while (!to_load_.empty()) {
    const ExpertId id = to_load_.back();
    if (!Contains(id)) {
      if (!MakeRoom(BytesOf(id), kAnyWorth, &wave->evicted)) break;
      Insert(id);
      ++stats_.loads;
      stats_.loaded_bytes += BytesOf(id);
      wave->load.push_back(id);
    } else {  // admitted since the layer began
      wave->ready.push_back(id);
      if (Of(id).unused) ++stats_.prefetched_used;
      Of(id).unused = false;
    }
    to_load_.pop_back();
    Of(id).leased = true;
    leased_.push_back(id);
  }
  DS_CHECK(!leased_.empty(), "not even one expert fits");
  ++stats_.waves;
  return true;
}

void Residency::Abandon() {
  for (const ExpertId& id : leased_) Of(id).leased = false;
  for (const ExpertId& id : ready_) Of(id).leased = false;
  leased_.clear();
  ready_.clear();
  to_load_.clear();
  victims_valid_ = false;
}

bool Residency::Admit(ExpertId id, Unasked why, std::vector<ExpertId>* evicted) {
  if (Contains(id)) return true;
  const bool warmup = why == Unasked::kWarmup;
  policy_->OnForetold(id);
  const double limit = warmup ? -kAnyWorth : policy_->Worth(id);
  if (!MakeRoom(BytesOf(id), limit, evicted)) return false;
  Insert(id);
  victims_valid_ = false;
  if (warmup) {
    ++stats_.warmed;
    stats_.warmed_bytes += BytesOf(id);
  } else {
    Of(id).unused = true;
    ++stats_.prefetched;
    stats_.prefetched_bytes += BytesOf(id);
  }
  return true;
}

void Residency::Insert(ExpertId id) {
  Of(id).place = static_cast<int32_t>(resident_.size());
  resident_.push_back(id);
  used_bytes_ += BytesOf(id);
}

void Residency::Hold(ExpertId id, bool held) {
  Of(id).held = held;
  victims_valid_ = false;
}

void Residency::Remove(ExpertId id) {
  Entry& entry = Of(id);
  if (entry.place < 0) return;
  const auto place = static_cast<size_t>(entry.place);
  resident_[place] = resident_.back();
  Of(resident_[place]).place = entry.place;
  resident_.pop_back();
  entry.place = -1;
  entry.held = false;
  if (entry.unused) ++stats_.prefetched_unused;
  entry.unused = false;
  used_bytes_ -= BytesOf(id);
  victims_valid_ = false;
}

bool Residency::Pin(ExpertId id) {
  Entry& entry = Of(id);
  if (entry.pinned) return true;
  if (pinned_bytes_ + BytesOf(id) + min_capacity_ > capacity_bytes_) return false;
  entry.pinned = true;
  pinned_bytes_ += BytesOf(id);
  victims_valid_ = false;
  return true;
}

bool Residency::SetCapacity(int64_t bytes, std::vector<ExpertId>* evicted) {
  if (bytes < pinned_bytes_ + min_capacity_) return false;
  const int64_t before = capacity_bytes_;
  capacity_bytes_ = bytes;
  if (MakeRoom(0, kAnyWorth, evicted)) return true;
  capacity_bytes_ = before;
  return false;
}

std::vector<ExpertId> Residency::ResidentByWorth() const {
  std::vector<Victim> valued;
  for (const ExpertId& id : resident_) valued.push_back({policy_->Worth(id), id});
  std::sort(valued.begin(), valued.end(), [](const Victim& a, const Victim& b) {
    return a.worth != b.worth ? a.worth > b.worth : a.id < b.id;
  });
  std::vector<ExpertId> ids;
  for (const Victim& v : valued) ids.push_back(v.id);
  return ids;
}

void Residency::SetPolicy(std::unique_ptr<CachePolicy> policy) {
  DS_CHECK(leased_.empty() && ready_.empty(), "a layer is under way");
  policy_ = std::move(policy);
  victims_valid_ = false;
}

void Residency::CollectVictims() {
  if (victims_valid_) return;
  victims_.clear();
  for (const ExpertId& id : resident_) {
    const Entry& entry = Of(id);
    if (!entry.leased && !entry.pinned && !entry.held) victims_.push_back({policy_->Worth(id), id});
  }
  // Of equal worth the lower id leaves first, so that the order of arrival does not matter.
  std::sort(victims_.begin(), victims_.end(), [](const Victim& a, const Victim& b) {
    return a.worth != b.worth ? a.worth > b.worth : a.id > b.id;
  });
  victims_valid_ = true;
}

bool Residency::MakeRoom(int64_t bytes, double worth_limit, std::vector<ExpertId>* evicted) {
  int64_t lacking = used_bytes_ + bytes - capacity_bytes_;
  if (lacking <= 0) return true;
  CollectVictims();
  size_t keep = victims_.size();
  while (lacking > 0) {
    if (keep == 0 || victims_[keep - 1].worth >= worth_limit) return false;
    lacking -= BytesOf(victims_[--keep].id);
  }
  for (size_t i = victims_.size(); i-- > keep;) {
    evicted->push_back(victims_[i].id);
    Remove(victims_[i].id);
    ++stats_.evictions;
  }
  victims_.resize(keep);
  victims_valid_ = true;  // what remains is in order
  return true;
}

}  // namespace deepshock
