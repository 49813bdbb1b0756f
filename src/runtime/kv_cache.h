// SPDX-License-Identifier: Apache-2.0
// KvCache: owns the memory behind one sequence's KvView. Starts small and doubles up to the context length,
// so that short sequences in long-context models stay cheap. Takes its memory from a budget where there is
// one. One thread.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/memory_budget.h"
#include "base/result.h"
#include "model/state.h"

namespace deepshock {

class KvCache {
 public:
  // Allocates nothing yet. `budget` may be null, and must outlive this.
  KvCache(StateSpec spec, int64_t max_tokens, MemoryBudget* budget = nullptr);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  // Makes room for `num_tokens` in all; present tokens stay. Fails past max_tokens and when memory runs out;
  // then nothing has changed.
  Status Reserve(int64_t num_tokens);
  // Forgets the tokens from `length` on; keeps the memory.
  void Truncate(int64_t length);

  KvView* view() { return &view_; }
  int64_t length() const { return view_.length; }
  int64_t capacity() const { return view_.capacity; }
  int64_t allocated_bytes() const;

 private:
  // What `num_tokens` need, against what the machine has.
  Status CheckFits(int64_t num_tokens) const;
  // Takes the budget's memory for a capacity of at least `num_tokens`, `wanted` where that fits; tells which.
  Result<int64_t> TakeFromBudget(int64_t num_tokens, int64_t wanted);
  int64_t BytesOf(int64_t capacity) const;
  // Memory for `capacity` tokens in place of the present one.
  Status Grow(int64_t capacity);

  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  using Memory = std::unique_ptr<std::byte[], Free>;

  StateSpec spec_;
  int64_t max_tokens_;
  MemoryBudget* budget_;
  std::vector<Memory> layers_;  // each [ceil(capacity / 32)] groups
  KvView view_;
};

}  // namespace deepshock
