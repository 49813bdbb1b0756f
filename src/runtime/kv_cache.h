// SPDX-License-Identifier: Apache-2.0
// KvCache: owns the memory behind one sequence's KvView. Takes address space for the whole context once, and
// memory in groups of 32 tokens as they are needed: what was computed never moves, kernels see one run of
// bytes a layer, and the processor's page tables do the paging (docs/decisions/serving.md). Takes its
// memory from a budget where there is one. One thread.
#pragma once

#include <cstdint>

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

  // Makes room for `num_tokens` in all, in whole groups; present tokens stay. Fails past max_tokens and when
  // memory runs out; then nothing has changed.
  Status Reserve(int64_t num_tokens);
  // Forgets the tokens from `length` on; keeps the memory.
  void Truncate(int64_t length);
  // Gives back the memory of groups that hold no token.
  void Shrink();

  const StateSpec& spec() const { return spec_; }
  KvView* view() { return &view_; }
  int64_t length() const { return view_.length; }
  int64_t capacity() const { return view_.capacity; }
  int64_t allocated_bytes() const { return BytesOf(view_.capacity); }
  // Of a token in a layer, where a group begins: groups lie one after the other.
  std::byte* GroupAt(size_t layer, int64_t token) {
    return view_.layers[layer] + token / kKvGroup * spec_.layers[layer].group_bytes();
  }

 private:
  // What `num_tokens` need, against what the machine has.
  Status CheckFits(int64_t num_tokens) const;
  int64_t BytesOf(int64_t capacity) const;
  // Address space for max_tokens, not yet to be used.
  Status MapAll();
  // Lets the first `num_tokens` be used.
  Status Open(int64_t num_tokens);

  StateSpec spec_;
  int64_t max_tokens_;
  MemoryBudget* budget_;
  std::byte* memory_ = nullptr;  // every layer from a page's border on
  int64_t mapped_bytes_ = 0;
  int64_t open_tokens_ = 0;  // may be written to; memory is there once it is
  KvView view_;
};

}  // namespace deepshock
