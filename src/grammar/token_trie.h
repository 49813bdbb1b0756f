// SPDX-License-Identifier: Apache-2.0
// TokenTrie: texts with token ids, as a trie whose nodes stand in the order of a search from the root: a walk
// goes straight through memory and skips a subtree in one step. Immutable; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace deepshock {

class TokenTrie {
 public:
  static constexpr size_t kMaxBytes = 255;

  TokenTrie() : TokenTrie(std::vector<std::pair<std::string_view, int32_t>>()) {}
  // Of at least 1 and at most kMaxBytes bytes each, in any order; several may be the same.
  explicit TokenTrie(std::vector<std::pair<std::string_view, int32_t>> tokens);

  // Node 0 is the root; what is below node i stands at i + 1 to subtree_end(i).
  uint32_t num_nodes() const { return static_cast<uint32_t>(nodes_.size() - 1); }
  uint8_t byte(uint32_t node) const { return nodes_[node].byte; }
  uint8_t depth(uint32_t node) const { return nodes_[node].depth; }
  uint32_t subtree_end(uint32_t node) const { return nodes_[node].subtree_end; }
  // Those that end here.
  std::span<const int32_t> tokens(uint32_t node) const {
    return std::span(tokens_).subspan(nodes_[node].first_token,
                                      nodes_[node + 1].first_token - nodes_[node].first_token);
  }
  size_t max_depth() const { return max_depth_; }

 private:
  struct Node {
    uint32_t subtree_end = 0, first_token = 0;
    uint8_t byte = 0, depth = 0;
  };
  std::vector<Node> nodes_;  // one more at the end
  std::vector<int32_t> tokens_;
  size_t max_depth_ = 0;
};

}  // namespace deepshock
