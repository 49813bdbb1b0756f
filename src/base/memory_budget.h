// SPDX-License-Identifier: Apache-2.0
// MemoryBudget: who may still take how much of a memory limit that a user set. Whoever wants memory that
// counts (the state of a sequence) takes it first and returns it when it is freed; an implementation may make
// room by letting go of something that can be had again (experts/disk_store.h). One thread.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace deepshock {

class MemoryBudget {
 public:
  virtual ~MemoryBudget() = default;
  // Fails when `bytes` more do not fit; then nothing has changed.
  virtual Status Take(int64_t bytes) = 0;
  virtual void Return(int64_t bytes) = 0;
};

// Nothing can be let go.
class FixedBudget final : public MemoryBudget {
 public:
  explicit FixedBudget(int64_t bytes) : total_(bytes), left_(bytes) {}
  Status Take(int64_t bytes) override {
    if (bytes > left_) {
      return Fail("memory: expected at most {} of the {} bytes beside the weights, found {} asked for", left_,
                  total_, bytes);
    }
    left_ -= bytes;
    return {};
  }
  void Return(int64_t bytes) override { left_ += bytes; }

 private:
  int64_t total_, left_;
};

}  // namespace deepshock
