// SPDX-License-Identifier: Apache-2.0
#include "text/pre_tokenizer_pattern.h"

#include <utf8proc.h>

#include "base/json.h"
#include "base/utf8.h"
#include "text/regex_syntax.h"
#include "text/tokenizer_fields.h"

namespace deepshock {
namespace {

utf8proc_category_t CategoryOf(uint32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(CharForMatching(code_point)));
}

}  // namespace

bool IsNumericChar(uint32_t c) {
  const auto category = CategoryOf(c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool IsPunctuationChar(uint32_t c) {
  if (c < 0x80)
    return (c >= 0x21 && c <= 0x2f) || (c >= 0x3a && c <= 0x40) || (c >= 0x5b && c <= 0x60) ||
           (c >= 0x7b && c <= 0x7e);
  const auto category = CategoryOf(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool IsSpaceChar(uint32_t c) {
  if (c < 0x80) return c == 0x20 || (c >= 0x09 && c <= 0x0d);
  const auto category = CategoryOf(c);
  return c == 0x85 || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

bool IsMarkChar(uint32_t c) {
  const auto category = CategoryOf(c);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_ME;
}

bool IsWordChar(uint32_t c) {
  const auto category = CategoryOf(c);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||  // letters, marks, digits
         category == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d ||          // the joiners
         (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
         (c >= 0x1f170 && c <= 0x1f189);  // letters in circles and squares
}

Result<TextPattern> TextPattern::FromRegex(std::string_view pattern) {
  TextPattern result;
  DS_ASSIGN(Regex regex, Regex::Compile(pattern));
  result.regex_ = std::move(regex);
  return result;
}

Result<TextPattern> TextPattern::FromLiteral(std::string literal) {
  if (literal.empty()) return FromRegex("");
  TextPattern result;
  result.literal_ = std::move(literal);
  return result;
}

TextPattern TextPattern::FromClass(bool (*contains)(uint32_t)) {
  TextPattern result;
  result.contains_ = contains;
  return result;
}

Result<TextPattern> TextPattern::FromJson(const Json& json, const std::string& where) {
  if (json.is_object() && json.size() == 1) {
    const std::string& kind = json.begin().key();
    if (json.begin()->is_string()) {
      const std::string& text = json.begin()->get_ref<const std::string&>();
      if (kind == "String") return FromLiteral(text).WithContext(where);
      if (kind == "Regex") return FromRegex(text).WithContext(where);
    }
  }
  return Fail("{}: expected a pattern {{\"Regex\": ...}} or {{\"String\": ...}}", where);
}

std::string TextPattern::ReplaceAll(std::string_view text, std::string_view content,
                                    RegexScratch& scratch) const {
  const std::string matching = TextForMatching(text);
  std::vector<TextRange> matches;
  FindAll(matching.empty() ? text : matching, scratch, &matches);
  std::string out;
  size_t end = 0;
  for (const TextRange& match : matches) {
    out.append(text.substr(end, match.begin - end));
    out.append(content);
    end = match.end;
  }
  out.append(text.substr(end));
  return out;
}

void TextPattern::FindAll(std::string_view text, RegexScratch& scratch,
                          std::vector<TextRange>* matches) const {
  if (regex_) return regex_->FindAll(text, scratch, matches);
  matches->clear();
  if (contains_ != nullptr) {
    for (size_t i = 0; i < text.size();) {
      const Utf8Char c = DecodeUtf8(text.substr(i));
      const size_t end = i + static_cast<size_t>(c.length);
      if (contains_(c.code_point)) matches->push_back({i, end});
      i = end;
    }
    return;
  }
  for (size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, at + literal_.size())) {
    matches->push_back({at, at + literal_.size()});
  }
}

}  // namespace deepshock
