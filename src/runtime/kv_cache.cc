// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace deepshock {
namespace {
constexpr int64_t kFirstCapacity = 128;  // tokens
constexpr size_t kAlignment = 64;        // bytes: a vector register, a cache line

// What the machine has; more than that is refused before the allocator is asked.
int64_t PhysicalMemory() {
  const int64_t pages = ::sysconf(_SC_PHYS_PAGES), page_bytes = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page_bytes > 0 ? pages * page_bytes : INT64_MAX;
}

int64_t Groups(int64_t num_tokens) { return num_tokens / kKvGroup + (num_tokens % kKvGroup != 0 ? 1 : 0); }
}  // namespace

KvCache::KvCache(StateSpec spec, int64_t max_tokens, MemoryBudget* budget)
    : spec_(std::move(spec)), max_tokens_(max_tokens), budget_(budget) {
  layers_.resize(spec_.layers.size());
  view_.type = spec_.type();
  view_.layers.assign(spec_.layers.size(), nullptr);
}

KvCache::~KvCache() {
  layers_.clear();
  if (budget_ != nullptr) budget_->Return(allocated_bytes());
}

int64_t KvCache::BytesOf(int64_t capacity) const {
  int64_t bytes = 0;
  for (const KvLayout& layer : spec_.layers) bytes += layer.group_bytes() * Groups(capacity);
  return bytes;
}

Result<int64_t> KvCache::TakeFromBudget(int64_t num_tokens, int64_t wanted) {
  if (budget_ == nullptr) return wanted;
  if (budget_->Take(BytesOf(wanted)).ok()) return wanted;
  // While it grows, the old memory is there beside the new one.
  const int64_t least = std::min(Groups(num_tokens) * kKvGroup, max_tokens_);
  DS_RETURN_IF_ERROR(
      budget_->Take(BytesOf(least)).WithContext(fmt::format("state of {} tokens", num_tokens)));
  return least;
}

Status KvCache::CheckFits(int64_t num_tokens) const {
  int64_t total_bytes = 0;
  for (const KvLayout& layer : spec_.layers) {
    int64_t bytes = 0;
    if (__builtin_mul_overflow(Groups(num_tokens), layer.group_bytes(), &bytes) ||
        __builtin_add_overflow(total_bytes, bytes, &total_bytes) || total_bytes > PhysicalMemory()) {
      return Fail("state: {} tokens do not fit in this machine's memory", num_tokens);
    }
  }
  return {};
}

Status KvCache::Reserve(int64_t num_tokens) {
  if (num_tokens <= view_.capacity) return {};
  if (num_tokens > max_tokens_) {
    return Fail("state: expected at most {} tokens, the context length, found {}", max_tokens_, num_tokens);
  }
  const int64_t old_bytes = allocated_bytes();
  int64_t capacity = std::max(view_.capacity, kFirstCapacity);
  while (capacity < num_tokens) capacity *= 2;
  capacity = std::min(capacity, max_tokens_);

  DS_RETURN_IF_ERROR(CheckFits(num_tokens));
  if (budget_ != nullptr && !CheckFits(capacity).ok()) capacity = num_tokens;
  DS_ASSIGN(capacity, TakeFromBudget(num_tokens, capacity));
  const Status grown = Grow(capacity);
  // Of a failed attempt, all that was taken; else what the old memory was.
  if (budget_ != nullptr) budget_->Return(grown.ok() ? old_bytes : BytesOf(capacity));
  return grown;
}

Status KvCache::Grow(int64_t capacity) {
  std::vector<Memory> grown(layers_.size());
  int64_t total_bytes = 0;
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    int64_t bytes = 0;
    if (__builtin_mul_overflow(Groups(capacity), spec_.layers[layer].group_bytes(), &bytes) ||
        __builtin_add_overflow(total_bytes, bytes, &total_bytes)) {
      return Fail("state: {} tokens do not fit in memory", capacity);
    }
    // Left uninitialised on purpose: pages that no token has reached take no memory.
    const size_t rounded = (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
    grown[layer].reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)));
    if (grown[layer] == nullptr) {
      return Fail("state: no memory for {} tokens ({} bytes for layers 0 to {})", capacity, total_bytes,
                  layer);
    }
  }
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const int64_t bytes = Groups(view_.length) * spec_.layers[layer].group_bytes();
    if (bytes > 0) std::memcpy(grown[layer].get(), layers_[layer].get(), static_cast<size_t>(bytes));
    view_.layers[layer] = grown[layer].get();
  }
  layers_ = std::move(grown);
  view_.capacity = capacity;
  return {};
}

void KvCache::Truncate(int64_t length) {
  DS_CHECK(length >= 0 && length <= view_.length, "a state can only be cut shorter");
  view_.length = length;
}

int64_t KvCache::allocated_bytes() const { return BytesOf(view_.capacity); }

}  // namespace deepshock
