// SPDX-License-Identifier: Apache-2.0
#include "runtime/memory_use.h"

#include "experts/store.h"

namespace deepshock {

std::optional<MemoryUse> MemoryUseOf(const ModelMemory& memory) {
  if (memory.budget == nullptr) return std::nullopt;
  MemoryUse use;
  use.always_resident_bytes = memory.resident_bytes;
  if (memory.store == nullptr) return use;
  const ExpertStoreStats stats = memory.store->stats();
  use.num_experts = stats.num_experts;
  use.expert_bytes = stats.disk_bytes;
  use.resident_experts = stats.num_resident;
  use.resident_expert_bytes = stats.resident_bytes;
  use.capacity = stats.capacity;
  use.hits = stats.hits;
  use.misses = stats.misses;
  use.bytes_read = stats.bytes_read;
  use.stall_seconds = stats.stall_seconds;
  use.prefetching = stats.prefetching;
  use.reader = memory.store->description();
  return use;
}

}  // namespace deepshock
