// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <algorithm>

namespace deepshock {
namespace {

// What a lead byte promises: total length and the range its second byte must lie in.
struct Lead {
  int length;
  uint8_t second_low;
  uint8_t second_high;
};

Lead ReadLead(uint8_t b) {
  if (b < 0x80) return {1, 0, 0};
  if (b >= 0xC2 && b <= 0xDF) return {2, 0x80, 0xBF};
  if (b == 0xE0) return {3, 0xA0, 0xBF};
  if (b == 0xED) return {3, 0x80, 0x9F};
  if (b >= 0xE1 && b <= 0xEF) return {3, 0x80, 0xBF};
  if (b == 0xF0) return {4, 0x90, 0xBF};
  if (b >= 0xF1 && b <= 0xF3) return {4, 0x80, 0xBF};
  if (b == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Bytes of text that match the sequence its lead byte promises, at most `lead.length`.
int MatchingBytes(std::string_view text, const Lead& lead) {
  int matched = 1;
  while (matched < lead.length && static_cast<size_t>(matched) < text.size()) {
    const auto b = static_cast<uint8_t>(text[static_cast<size_t>(matched)]);
    const uint8_t low = matched == 1 ? lead.second_low : 0x80;
    const uint8_t high = matched == 1 ? lead.second_high : 0xBF;
    if (b < low || b > high) break;
    ++matched;
  }
  return matched;
}

}  // namespace

Utf8Char DecodeUtf8(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  const Lead lead = ReadLead(first);
  if (lead.length == 0) return {0xFFFD, 1, false};
  const int matched = MatchingBytes(text, lead);
  if (matched < lead.length) return {0xFFFD, matched, false};
  if (lead.length == 1) return {first, 1, true};
  uint32_t code_point = first & (0xFFu >> (lead.length + 1));
  for (int i = 1; i < lead.length; ++i) {
    code_point = code_point << 6 | (static_cast<uint8_t>(text[static_cast<size_t>(i)]) & 0x3Fu);
  }
  return {code_point, lead.length, true};
}

void AppendUtf8(uint32_t c, std::string* out) {
  const auto put = [&](uint32_t b) { out->push_back(static_cast<char>(b)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

size_t FindInvalidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    if (!c.valid) return i;
    i += static_cast<size_t>(c.length);
  }
  return std::string_view::npos;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const auto length = static_cast<size_t>(c.length);
    if (c.valid) {
      out.append(text.substr(i, length));
    } else {
      AppendUtf8(0xFFFD, &out);
    }
    i += length;
  }
  return out;
}

size_t CompleteUtf8Prefix(std::string_view text) {
  const size_t tail = std::min<size_t>(text.size(), 3);
  for (size_t back = 1; back <= tail; ++back) {
    const size_t start = text.size() - back;
    const Lead lead = ReadLead(static_cast<uint8_t>(text[start]));
    if (lead.length == 0) continue;  // a continuation byte: look further back for its lead
    const bool unfinished = static_cast<size_t>(lead.length) > back &&
                            MatchingBytes(text.substr(start), lead) == static_cast<int>(back);
    return unfinished ? start : text.size();
  }
  return text.size();
}

}  // namespace deepshock
