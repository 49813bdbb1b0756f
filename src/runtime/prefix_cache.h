// SPDX-License-Identifier: Apache-2.0
// PrefixCache: the state of prompts, kept for others that begin the same way. A radix tree whose edges are
// blocks of as many tokens as a prompt's chunk holds, under a root for each way of routing; a prompt's rest
// after its last whole block hangs there with the logits that follow, so that an equal prompt needs no pass
// at all. Blocks are copied in and out, since a sequence's state is one run of bytes. Only what was computed
// in whole chunks from the sequence's beginning is kept: that is what the sequence would compute by itself,
// so output stays the same, byte for byte. Layers of multi-token prediction are left out; they begin anew.
// What was used longest ago goes first. Owned by the scheduler, on its thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/memory_budget.h"
#include "deepshock/engine.h"
#include "runtime/sequence_state.h"

namespace deepshock {

// Part of a prompt, and its state.
struct PrefixBlock {
  std::vector<int32_t> tokens;  // of the block alone
  std::vector<std::byte> data;  // whole groups of each layer, one layer after the other
  std::vector<float> logits;    // [V] after the prompt's last token; empty: a whole block
  bool is_end() const { return !logits.empty(); }
  int64_t bytes() const {
    return static_cast<int64_t>(data.size() + tokens.size() * sizeof(int32_t) +
                                logits.size() * sizeof(float));
  }
};

// Where blocks are kept beside memory.
class PrefixStore {
 public:
  virtual ~PrefixStore() = default;
  // The block that ends `prefix`, which is all tokens from the prompt's beginning; null where there is none.
  // `is_end`: of the prompt's rest of `num_tokens`, with logits.
  virtual std::shared_ptr<const PrefixBlock> Load(std::string_view routing_key,
                                                  std::span<const int32_t> prefix, int64_t num_tokens,
                                                  bool is_end) = 0;
  // Returns at once; a block may be left out.
  virtual void Save(std::string_view routing_key, std::span<const int32_t> prefix,
                    std::shared_ptr<const PrefixBlock> block) = 0;
  virtual void AddStats(EngineStats::PrefixCache* stats) const = 0;
};

class PrefixCache {
 public:
  struct Options {
    int64_t block_tokens = 0;  // a multiple of kKvGroup
    int64_t max_bytes = 0;
    int num_draft_layers = 0;        // last of the state's layers, which are not kept
    MemoryBudget* budget = nullptr;  // what the memory is taken from; may be null
    std::unique_ptr<PrefixStore> store = {};
  };
  explicit PrefixCache(Options options);
  ~PrefixCache();

  // Appends to `state`, which ends at a block's border, what is kept of the prompt after that. Returns the
  // logits after the whole prompt where all of it was found and `with_end`, else at least its last token is
  // left to compute. Views stay valid until the next call.
  std::span<const float> Restore(std::span<const int32_t> prompt, bool with_end, SequenceState* state);
  // Keeps the block that ends at the state's token `end`.
  void AddBlock(int64_t end, SequenceState& state);
  // Keeps what lies behind the last whole block of a prompt, all of which the state holds, and the logits.
  void AddEnd(std::span<const float> logits, SequenceState& state);

  // Lets the block go that was used longest ago; false when there is none.
  bool Evict();
  void AddStats(EngineStats::PrefixCache* stats) const;

 private:
  struct Node {
    Node* parent = nullptr;
    uint64_t hash = 0;
    std::shared_ptr<const PrefixBlock> block;  // null: a root
    std::unordered_multimap<uint64_t, std::unique_ptr<Node>> children;
    std::list<Node*>::iterator used;
  };
  Node* Root(const std::string& routing_key);
  // A child in memory or in the store; null when there is none. `prefix` ends with its `num_tokens`.
  Node* Child(Node* node, const std::string& routing_key, std::span<const int32_t> prefix, int64_t num_tokens,
              bool is_end);
  Node* FindChild(Node* node, uint64_t hash, std::span<const int32_t> tokens, bool is_end) const;
  // Null when there is no room.
  Node* Put(Node* parent, uint64_t hash, std::shared_ptr<const PrefixBlock> block);
  // The node of the first `length` tokens, which is a multiple of block_tokens; null when one is missing.
  Node* Walk(const std::string& routing_key, std::span<const int32_t> tokens, int64_t length);
  // A node is never used later than those above it, so that the last of used_ has no children.
  void Touch(Node* node);
  void Keep(Node* parent, int64_t begin, int64_t end, std::span<const float> logits, SequenceState& state);
  void CopyOut(const PrefixBlock& block, SequenceState* state) const;

  Options options_;
  std::map<std::string, Node, std::less<>> roots_;
  std::list<Node*> used_;  // the last used first
  int64_t bytes_ = 0, evictions_ = 0;
};

}  // namespace deepshock
