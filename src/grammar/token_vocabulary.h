// SPDX-License-Identifier: Apache-2.0
// TokenVocabulary: the bytes of every token of a tokenizer, as a trie whose nodes stand in the order of a
// search from the root, so that a walk goes straight through memory and skips a subtree in one step. Built
// once for a tokenizer; immutable, any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace deepshock {

class TokenVocabulary {
 public:
  // Longer tokens are never allowed: shorter ones spell the same.
  static constexpr size_t kMaxTokenBytes = 255;
  // What a special token's text begins with here; no text in UTF-8 does.
  static constexpr char kSpecial = '\xff';

  // Tokens below `vocab_size`, which the model knows; `end_tokens`: those that end an output.
  TokenVocabulary(const Tokenizer& tokenizer, int64_t vocab_size, std::span<const int32_t> end_tokens);
  // For tests: token i has these bytes; empty: none.
  TokenVocabulary(const std::vector<std::string>& tokens, std::span<const int32_t> end_tokens);

  int64_t size() const { return static_cast<int64_t>(bytes_.size()); }
  size_t mask_words() const { return (bytes_.size() + 31) / 32; }
  const std::vector<int32_t>& end_tokens() const { return end_tokens_; }
  bool is_end(int32_t token) const;
  // Empty where a token has none, or is never allowed.
  std::string_view bytes(int32_t token) const { return bytes_[static_cast<size_t>(token)]; }

  // The trie: node 0 is the root, and what is below node i stands at i + 1 to subtree_end(i).
  uint32_t num_nodes() const { return static_cast<uint32_t>(nodes_.size() - 1); }
  uint8_t byte(uint32_t node) const { return nodes_[node].byte; }
  uint8_t depth(uint32_t node) const { return nodes_[node].depth; }
  uint32_t subtree_end(uint32_t node) const { return nodes_[node].subtree_end; }
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
  void Build();

  std::vector<std::string> bytes_;  // [V]
  std::vector<int32_t> end_tokens_;
  std::vector<Node> nodes_;  // one more at the end
  std::vector<int32_t> tokens_;
  size_t max_depth_ = 0;
};

}  // namespace deepshock
