// SPDX-License-Identifier: Apache-2.0
#include "apps/common/memory_option.h"

#include <cstdio>

#include "base/byte_size.h"

namespace deepshock {

Result<int64_t> MemoryBytes(const CommonOptions& options) {
  if (options.memory.empty() || options.memory == "auto") return 0;
  return ParseByteSize(options.memory).WithContext("--memory");
}

std::string DescribeMemory(const MemoryUse& use) {
  const int64_t uses = use.hits + use.misses;
  const double hit_rate = uses == 0 ? 0 : static_cast<double>(use.hits) / static_cast<double>(uses);
  return fmt::format(
      "memory: {} always resident; {} of {} experts ({}), room for {}; hit rate {:.1f} %, {} read ({}), "
      "waited {:.1f} s; prefetching {}",
      FormatByteSize(use.always_resident_bytes), use.resident_experts, use.num_experts,
      FormatByteSize(use.resident_expert_bytes), use.capacity, 100 * hit_rate, FormatByteSize(use.bytes_read),
      use.reader, use.stall_seconds, use.prefetching);
}

void PrintMemoryUse(const std::optional<MemoryUse>& use) {
  if (use && use->num_experts > 0) std::fprintf(stderr, "[%s]\n", DescribeMemory(*use).c_str());
}

}  // namespace deepshock
