// SPDX-License-Identifier: Apache-2.0
// HugeMemory: a large block of zeroed memory, on huge pages where the system gives them, spread over all
// memory nodes. Pages cost nothing until they are written.
#pragma once

#include <cstddef>
#include <memory>

#include "base/result.h"

namespace deepshock {

class HugeMemory {
 public:
  // Fails when the address space or the system's commit limit does not hold `bytes`.
  static Result<std::shared_ptr<HugeMemory>> Allocate(size_t bytes);
  ~HugeMemory();
  HugeMemory(const HugeMemory&) = delete;
  HugeMemory& operator=(const HugeMemory&) = delete;

  std::byte* data() { return data_; }
  size_t size() const { return size_; }
  // Lets whole pages of this part go; they read as zeros afterwards, and cost nothing until written again.
  void GiveBack(size_t offset, size_t bytes);

 private:
  HugeMemory(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_;
  size_t size_;
};

}  // namespace deepshock
