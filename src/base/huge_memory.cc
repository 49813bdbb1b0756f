// SPDX-License-Identifier: Apache-2.0
#include "base/huge_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/topology.h"

namespace deepshock {

Result<std::shared_ptr<HugeMemory>> HugeMemory::Allocate(size_t bytes) {
  if (bytes == 0) return std::shared_ptr<HugeMemory>(new HugeMemory(nullptr, 0));
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return Fail("cannot allocate {} bytes: {}", bytes, std::strerror(errno));
  ::madvise(p, bytes, MADV_HUGEPAGE);  // a wish
  SpreadOverNodes(p, bytes);
  return std::shared_ptr<HugeMemory>(new HugeMemory(static_cast<std::byte*>(p), bytes));
}

void HugeMemory::GiveBack(size_t offset, size_t bytes) {
  constexpr size_t kPage = 4096;
  const size_t begin = (offset + kPage - 1) / kPage * kPage, end = (offset + bytes) / kPage * kPage;
  if (begin < end) ::madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

HugeMemory::~HugeMemory() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace deepshock
