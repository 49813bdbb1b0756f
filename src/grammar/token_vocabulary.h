// SPDX-License-Identifier: Apache-2.0
// TokenVocabulary: the bytes of every token of a tokenizer, and tries of them: short tokens and long ones
// apart, because what a short one may follow depends on less of a grammar (Grammar::short_view). Built once
// for a tokenizer; immutable, any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/token_trie.h"
#include "text/tokenizer.h"

namespace deepshock {

class TokenVocabulary {
 public:
  // Of the short ones; longer than TokenTrie::kMaxBytes are never allowed: others spell the same.
  static constexpr size_t kMaxShortBytes = 16;
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

  const TokenTrie& short_tokens() const { return short_; }
  const TokenTrie& long_tokens() const { return long_; }

 private:
  void Build();

  std::vector<std::string> bytes_;  // [V]
  std::vector<int32_t> end_tokens_;
  TokenTrie short_, long_;
};

}  // namespace deepshock
