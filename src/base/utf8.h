// SPDX-License-Identifier: Apache-2.0
// UTF-8 by the Unicode standard's table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace deepshock {

struct Utf8Char {
  uint32_t code_point;  // U+FFFD when invalid
  int length;           // bytes consumed, >= 1
  bool valid;
};

// Decodes the character at text[0]; text must not be empty. An invalid sequence consumes its maximal subpart,
// as the WHATWG decoder (and Python's errors="replace") does.
Utf8Char DecodeUtf8(std::string_view text);

void AppendUtf8(uint32_t code_point, std::string* out);

// Offset of the first invalid byte, or npos.
size_t FindInvalidUtf8(std::string_view text);

// Every maximal invalid subpart becomes one U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

// Length of the longest prefix that does not end inside a character that more bytes could still complete.
size_t CompleteUtf8Prefix(std::string_view text);

}  // namespace deepshock
