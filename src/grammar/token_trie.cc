// SPDX-License-Identifier: Apache-2.0
#include "grammar/token_trie.h"

#include <algorithm>

namespace deepshock {

TokenTrie::TokenTrie(std::vector<std::pair<std::string_view, int32_t>> tokens) {
  std::sort(tokens.begin(), tokens.end());
  nodes_.emplace_back();
  std::vector<uint32_t> path = {0};  // nodes from the root to the last one
  std::string_view last;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth + 1; path.pop_back()) {
      nodes_[path.back()].subtree_end = static_cast<uint32_t>(nodes_.size());
    }
  };
  for (const auto& [text, token] : tokens) {
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
