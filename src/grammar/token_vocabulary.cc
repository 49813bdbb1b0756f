// SPDX-License-Identifier: Apache-2.0
#include "grammar/token_vocabulary.h"

#include <algorithm>
#include <utility>

namespace deepshock {

TokenVocabulary::TokenVocabulary(const Tokenizer& tokenizer, int64_t vocab_size,
                                 std::span<const int32_t> end_tokens)
    : bytes_(static_cast<size_t>(std::min(tokenizer.vocab_size(), vocab_size))),
      end_tokens_(end_tokens.begin(), end_tokens.end()) {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const auto token = static_cast<int32_t>(i);
    bytes_[i] =
        tokenizer.IsSpecial(token) ? kSpecial + tokenizer.TokenText(token) : tokenizer.TokenBytes(token);
  }
  Build();
}

TokenVocabulary::TokenVocabulary(const std::vector<std::string>& tokens, std::span<const int32_t> end_tokens)
    : bytes_(tokens), end_tokens_(end_tokens.begin(), end_tokens.end()) {
  Build();
}

bool TokenVocabulary::is_end(int32_t token) const {
  return std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end();
}

void TokenVocabulary::Build() {
  std::erase_if(end_tokens_, [&](int32_t token) { return token < 0 || token >= size(); });
  std::vector<std::pair<std::string_view, int32_t>> short_tokens, long_tokens;
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const auto token = static_cast<int32_t>(i);
    if (is_end(token) || bytes_[i].size() > TokenTrie::kMaxBytes) bytes_[i].clear();
    if (!bytes_[i].empty())
      (bytes_[i].size() > kMaxShortBytes ? long_tokens : short_tokens).emplace_back(bytes_[i], token);
  }
  short_ = TokenTrie(std::move(short_tokens));
  long_ = TokenTrie(std::move(long_tokens));
}

}  // namespace deepshock
