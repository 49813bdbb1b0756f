// SPDX-License-Identifier: Apache-2.0
#include "grammar/token_vocabulary.h"

#include <algorithm>

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
  std::vector<int32_t> order;
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const auto token = static_cast<int32_t>(i);
    if (is_end(token) || bytes_[i].size() > kMaxTokenBytes) bytes_[i].clear();
    if (!bytes_[i].empty()) order.push_back(token);
  }
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const int compared = bytes(a).compare(bytes(b));
    return compared != 0 ? compared < 0 : a < b;
  });
  nodes_.emplace_back();
  std::vector<uint32_t> path = {0};  // nodes from the root to the last one
  std::string_view last;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth + 1; path.pop_back())
      nodes_[path.back()].subtree_end = static_cast<uint32_t>(nodes_.size());
  };
  for (const int32_t token : order) {
    const std::string_view text = bytes(token);
    const auto shared = static_cast<size_t>(
        std::mismatch(text.begin(), text.end(), last.begin(), last.end()).first - text.begin());
    close(shared);
    for (size_t i = shared; i < text.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, static_cast<uint32_t>(tokens_.size()), static_cast<uint8_t>(text[i]),
                        static_cast<uint8_t>(i + 1)});
    }
    max_depth_ = std::max(max_depth_, text.size());
    tokens_.push_back(token);
    last = text;
  }
  close(0);
  nodes_[0].subtree_end = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back({0, static_cast<uint32_t>(tokens_.size()), 0, 0});
}

}  // namespace deepshock
