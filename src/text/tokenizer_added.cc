// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer_added.h"

#include "base/utf8.h"
#include "text/pre_tokenizer_pattern.h"

namespace deepshock {
namespace {

// Begin of the last character of `text`, which is not empty.
size_t LastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

bool EndsWithWord(std::string_view text) {
  return !text.empty() && IsWordChar(DecodeUtf8(text.substr(LastCharacter(text))).code_point);
}

bool StartsWithWord(std::string_view text) {
  return !text.empty() && IsWordChar(DecodeUtf8(text).code_point);
}

// Where the blanks at the end of `text` begin.
size_t BlanksAtEnd(std::string_view text) {
  while (!text.empty()) {
    const size_t at = LastCharacter(text);
    if (!IsSpaceChar(DecodeUtf8(text.substr(at)).code_point)) break;
    text = text.substr(0, at);
  }
  return text.size();
}

size_t BlanksAtStart(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Char c = DecodeUtf8(text.substr(at));
    if (!IsSpaceChar(c.code_point)) break;
    at += static_cast<size_t>(c.length);
  }
  return at;
}

}  // namespace

Status AddedTokenMatcher::Add(const AddedToken& token, std::string_view content) {
  if (content.empty()) return {};  // matches nowhere
  if (content.size() > kMaxContentBytes) {
    return Fail("added token {}: expected at most {} bytes, found {}", token.id, kMaxContentBytes,
                content.size());
  }
  uint32_t node = 0;
  for (const char c : content) {
    const auto byte = static_cast<uint8_t>(c);
    uint32_t& child = node == 0 ? first_[byte] : children_[uint64_t{node} << 8 | byte];
    if (child == kNone) {
      child = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
    }
    node = child;
  }
  if (nodes_[node].token >= 0) return {};
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
  return {};
}

const AddedToken* AddedTokenMatcher::LongestAt(std::string_view text, size_t at, size_t* length) const {
  uint32_t node = first_[static_cast<uint8_t>(text[at])];
  const AddedToken* best = nullptr;
  for (size_t end = at + 1; node != kNone; ++end) {
    if (nodes_[node].token >= 0) {
      best = &tokens_[static_cast<size_t>(nodes_[node].token)];
      *length = end - at;
    }
    if (end >= text.size()) break;
    const auto child = children_.find(uint64_t{node} << 8 | static_cast<uint8_t>(text[end]));
    if (child == children_.end()) break;
    node = child->second;
  }
  return best;
}

std::vector<TextPart> AddedTokenMatcher::Split(std::string_view text, bool parse_special_tokens) const {
  std::vector<TextPart> parts;
  size_t done = 0;
  size_t blanks_end = 0;  // of the blanks swallowed last; they are not looked through again
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    const AddedToken* token = LongestAt(text, at, &length);
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + length;
    at = end;
    if (token->special && !parse_special_tokens) continue;
    if (token->single_word && (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end))))
      continue;
    if (token->right_strip) {
      end = end <= blanks_end ? blanks_end : end + BlanksAtStart(text.substr(end));
      blanks_end = end;
    }
    if (token->left_strip) {
      begin = done < begin ? done + BlanksAtEnd(text.substr(done, begin - done)) : done;
      if (begin >= end) continue;  // all of it belongs to the previous token's blanks
    }
    // A token inside blanks that the previous one has swallowed counts all the same, and ends them early.
    if (done < begin) parts.push_back({done, begin, -1});
    parts.push_back({begin, end, token->id});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), -1});
  return parts;
}

}  // namespace deepshock
