// SPDX-License-Identifier: Apache-2.0
// Added tokens: texts that are one token wherever they stand, found before anything else looks at the text.
// Immutable once built.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace deepshock {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool special = false;  // left out of Decode when asked; plain text when special tokens are not to be parsed
  bool normalized = false;   // looked for in the normalized text
  bool left_strip = false;   // swallows the blanks before it
  bool right_strip = false;  // swallows the blanks after it
  bool single_word = false;  // only between characters that are not part of a word
};

// A stretch of text: a token, or text that is still to be encoded (id -1).
struct TextPart {
  size_t begin;
  size_t end;
  int32_t id;
};

// Finds a set of added tokens: at every place the longest, and the leftmost place first.
class AddedTokenMatcher {
 public:
  static constexpr size_t kMaxContentBytes = 4096;

  // `content` is the token's, normalized where it asks for that. The first token with a content counts.
  Status Add(const AddedToken& token, std::string_view content);

  // As AddedVocabulary::find_matches of Hugging Face tokenizers. Parts are never empty.
  std::vector<TextPart> Split(std::string_view text, bool parse_special_tokens) const;
  bool empty() const { return tokens_.empty(); }

 private:
  // Returns the token and sets its length, or null.
  const AddedToken* LongestAt(std::string_view text, size_t at, size_t* length) const;

  static constexpr uint32_t kNone = 0;
  struct Node {
    int32_t token = -1;  // in tokens_
  };
  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_ = std::vector<Node>(1);   // of a trie over bytes; [0] is the root
  std::array<uint32_t, 256> first_{};                // the root's children; 0: none
  std::unordered_map<uint64_t, uint32_t> children_;  // node * 256 + byte -> node
};

}  // namespace deepshock
