// SPDX-License-Identifier: Apache-2.0
// A place-finder in text: a regular expression, a literal, or a class of characters. Normalizers replace what
// it finds; pre-tokenizers split there. Immutable.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"

namespace deepshock {

// Classes by Unicode general category.
bool IsNumericChar(uint32_t code_point);      // N
bool IsPunctuationChar(uint32_t code_point);  // P, and ASCII punctuation
bool IsSpaceChar(uint32_t code_point);        // White_Space
bool IsMarkChar(uint32_t code_point);         // M
bool IsWordChar(uint32_t code_point);         // what \w matches

class TextPattern {
 public:
  static Result<TextPattern> FromRegex(std::string_view pattern);
  static Result<TextPattern> FromLiteral(std::string literal);
  static TextPattern FromClass(bool (*contains)(uint32_t));
  // {"Regex": "..."} or {"String": "..."}. `where` is for messages.
  static Result<TextPattern> FromJson(const nlohmann::json& json, const std::string& where);

  // `text` as TextForMatching gives it.
  void FindAll(std::string_view text, RegexScratch& scratch, std::vector<TextRange>* matches) const;
  std::string ReplaceAll(std::string_view text, std::string_view content, RegexScratch& scratch) const;

 private:
  std::optional<Regex> regex_;
  std::string literal_;
  bool (*contains_)(uint32_t) = nullptr;
};

}  // namespace deepshock
