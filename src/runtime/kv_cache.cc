// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_cache.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace deepshock {
namespace {
constexpr int64_t kFirstOpen = 256;  // tokens; then twice as many, so that few calls open all

int64_t PageBytes() {
  const int64_t bytes = ::sysconf(_SC_PAGESIZE);
  return bytes > 0 ? bytes : 4096;
}

// What the machine has; more than that is refused before the system is asked.
int64_t PhysicalMemory() {
  const int64_t pages = ::sysconf(_SC_PHYS_PAGES);
  return pages > 0 ? pages * PageBytes() : INT64_MAX;
}

int64_t Groups(int64_t num_tokens) { return num_tokens / kKvGroup + (num_tokens % kKvGroup != 0 ? 1 : 0); }
int64_t RoundUp(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }
}  // namespace

KvCache::KvCache(StateSpec spec, int64_t max_tokens, MemoryBudget* budget)
    : spec_(std::move(spec)), max_tokens_(max_tokens), budget_(budget) {
  view_.type = spec_.type();
  view_.layers.assign(spec_.layers.size(), nullptr);
}

KvCache::~KvCache() {
  if (memory_ != nullptr) ::munmap(memory_, static_cast<size_t>(mapped_bytes_));
  if (budget_ != nullptr) budget_->Return(allocated_bytes());
}

int64_t KvCache::BytesOf(int64_t capacity) const {
  int64_t bytes = 0;
  for (const KvLayout& layer : spec_.layers) bytes += layer.group_bytes() * Groups(capacity);
  return bytes;
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
  DS_RETURN_IF_ERROR(CheckFits(num_tokens));
  const int64_t capacity = std::min(Groups(num_tokens) * kKvGroup, max_tokens_);
  const int64_t more_bytes = BytesOf(capacity) - allocated_bytes();
  if (budget_ != nullptr)
    DS_RETURN_IF_ERROR(budget_->Take(more_bytes).WithContext(fmt::format("state of {} tokens", num_tokens)));
  const Status opened = Open(capacity);
  if (opened.ok()) {
    view_.capacity = capacity;
  } else if (budget_ != nullptr) {
    budget_->Return(more_bytes);
  }
  return opened;
}

Status KvCache::MapAll() {
  int64_t total_bytes = 0;
  std::vector<int64_t> starts;
  for (const KvLayout& layer : spec_.layers) {
    int64_t bytes = 0;
    starts.push_back(total_bytes);
    if (__builtin_mul_overflow(Groups(max_tokens_), layer.group_bytes(), &bytes) ||
        bytes > INT64_MAX - PageBytes() ||
        __builtin_add_overflow(total_bytes, RoundUp(bytes, PageBytes()), &total_bytes)) {
      return Fail("state: {} tokens do not fit in the address space", max_tokens_);
    }
  }
  void* memory = ::mmap(nullptr, static_cast<size_t>(total_bytes), PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return Fail("state: no address space for {} tokens ({} bytes): {}", max_tokens_, total_bytes,
                std::strerror(errno));
  }
  // A huge page would take 2 MiB for the first token of each layer.
  ::madvise(memory, static_cast<size_t>(total_bytes), MADV_NOHUGEPAGE);
  memory_ = static_cast<std::byte*>(memory);
  mapped_bytes_ = total_bytes;
  for (size_t layer = 0; layer < starts.size(); ++layer) view_.layers[layer] = memory_ + starts[layer];
  return {};
}

Status KvCache::Open(int64_t num_tokens) {
  if (memory_ == nullptr) DS_RETURN_IF_ERROR(MapAll());
  if (num_tokens <= open_tokens_) return {};
  int64_t wanted = std::max(open_tokens_, kFirstOpen);
  while (wanted < num_tokens) wanted *= 2;
  wanted = std::min(wanted, max_tokens_);
  for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    const int64_t bytes = RoundUp(Groups(wanted) * spec_.layers[layer].group_bytes(), PageBytes());
    // Where the system promises no more than it has, this is what it counts.
    if (::mprotect(view_.layers[layer], static_cast<size_t>(bytes), PROT_READ | PROT_WRITE) != 0) {
      return Fail("state: no memory for {} tokens: {}", wanted, std::strerror(errno));
    }
  }
  open_tokens_ = wanted;
  return {};
}

void KvCache::Truncate(int64_t length) {
  DS_CHECK(length >= 0 && length <= view_.length, "a state can only be cut shorter");
  view_.length = length;
}

void KvCache::Shrink() {
  const int64_t capacity = std::min(Groups(view_.length) * kKvGroup, max_tokens_);
  if (capacity >= view_.capacity) return;
  const int64_t page = PageBytes(), old_bytes = allocated_bytes();
  for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    const int64_t group = spec_.layers[layer].group_bytes();
    const int64_t begin = RoundUp(Groups(capacity) * group, page);
    const int64_t end = RoundUp(Groups(view_.capacity) * group, page);
    if (begin < end) ::madvise(view_.layers[layer] + begin, static_cast<size_t>(end - begin), MADV_DONTNEED);
  }
  view_.capacity = capacity;
  if (budget_ != nullptr) budget_->Return(old_bytes - allocated_bytes());
}

}  // namespace deepshock
