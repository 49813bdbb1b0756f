// SPDX-License-Identifier: Apache-2.0
// Template source to tokens: data, tag delimiters, names, literals, operators; white space control done.
// trim_blocks and lstrip_blocks are always on, as Hugging Face transformers sets them.
// Refuses invalid UTF-8, sources past kMaxSourceBytes and malformed tokens, naming the line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace deepshock::jinja {

constexpr size_t kMaxSourceBytes = 1 << 20;  // the longest published template is about 20 KB

enum class TokenKind : uint8_t {
  kData,
  kBlockBegin,
  kBlockEnd,
  kPrintBegin,
  kPrintEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind;
  int line;
  std::string text;  // data, name, operator; a string's value; a number as written

  bool Is(TokenKind k, std::string_view t) const { return kind == k && text == t; }
  bool IsName(std::string_view t) const { return Is(TokenKind::kName, t); }
  bool IsOperator(std::string_view t) const { return Is(TokenKind::kOperator, t); }
};

// The last token is kEnd. Errors begin with "line N: ".
Result<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace deepshock::jinja
