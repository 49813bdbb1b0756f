// SPDX-License-Identifier: Apache-2.0
// Character classes and letter case, from Unicode's data through utf8proc. One-to-many mappings are listed
// here as far as SpecialCasing.txt has them for Latin letters; the other scripts' ligatures map to
// themselves.
#include <utf8proc.h>

#include <array>

#include "base/utf8.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

struct SpecialUpper {
  uint32_t from;
  const char* upper;
  const char* title;
};

constexpr std::array<SpecialUpper, 9> kSpecialUpper = {{
    {0x00DF, "SS", "Ss"},            // sharp s
    {0x0149, "\u02BCN", "\u02BCN"},  // n preceded by apostrophe
    {0xFB00, "FF", "Ff"},
    {0xFB01, "FI", "Fi"},
    {0xFB02, "FL", "Fl"},
    {0xFB03, "FFI", "Ffi"},
    {0xFB04, "FFL", "Ffl"},
    {0xFB05, "ST", "St"},
    {0xFB06, "ST", "St"},
}};

utf8proc_int32_t Signed(uint32_t c) { return static_cast<utf8proc_int32_t>(c); }

void AppendUpper(uint32_t c, bool title, std::string* out) {
  for (const SpecialUpper& special : kSpecialUpper) {
    if (special.from == c) {
      *out += title ? special.title : special.upper;
      return;
    }
  }
  AppendUtf8(static_cast<uint32_t>(title ? utf8proc_totitle(Signed(c)) : utf8proc_toupper(Signed(c))), out);
}

bool IsCased(uint32_t c) {
  return IsUpper(c) || IsLower(c) || utf8proc_category(Signed(c)) == UTF8PROC_CATEGORY_LT;
}

// Capital sigma at the end of a word has its own small letter; capital I with a dot keeps the dot.
void AppendLower(const std::vector<uint32_t>& text, size_t i, std::string* out) {
  const uint32_t c = text[i];
  if (c == 0x0130) {
    *out += "i\u0307";
    return;
  }
  if (c == 0x03A3) {
    const bool ends = i > 0 && IsCased(text[i - 1]) && (i + 1 == text.size() || !IsCased(text[i + 1]));
    AppendUtf8(ends ? 0x03C2 : 0x03C3, out);
    return;
  }
  AppendUtf8(static_cast<uint32_t>(utf8proc_tolower(Signed(c))), out);
}

}  // namespace

bool IsAlpha(uint32_t c) {
  const auto category = utf8proc_category(Signed(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool IsDecimal(uint32_t c) { return utf8proc_category(Signed(c)) == UTF8PROC_CATEGORY_ND; }

bool IsNumeric(uint32_t c) {
  const auto category = utf8proc_category(Signed(c));
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool IsUpper(uint32_t c) { return utf8proc_isupper(Signed(c)) != 0; }

bool IsLower(uint32_t c) { return utf8proc_islower(Signed(c)) != 0; }

bool IsWordCharacter(uint32_t c) { return c == '_' || IsAlpha(c) || IsNumeric(c); }

std::string Upper(std::string_view text) {
  std::string out;
  for (const uint32_t c : CodePoints(text)) AppendUpper(c, false, &out);
  return out;
}

std::string Lower(std::string_view text) {
  std::string out;
  const std::vector<uint32_t> code_points = CodePoints(text);
  for (size_t i = 0; i < code_points.size(); ++i) AppendLower(code_points, i, &out);
  return out;
}

std::string Capitalize(std::string_view text) {
  std::string out;
  const std::vector<uint32_t> code_points = CodePoints(text);
  for (size_t i = 0; i < code_points.size(); ++i) {
    if (i == 0) {
      AppendUpper(code_points[i], true, &out);
    } else {
      AppendLower(code_points, i, &out);
    }
  }
  return out;
}

std::string Title(std::string_view text) {
  std::string out;
  bool in_word = false;
  const std::vector<uint32_t> code_points = CodePoints(text);
  for (size_t i = 0; i < code_points.size(); ++i) {
    if (in_word) {
      AppendLower(code_points, i, &out);
    } else {
      AppendUpper(code_points[i], true, &out);
    }
    in_word = IsCased(code_points[i]);
  }
  return out;
}

std::string SwapCase(std::string_view text) {
  std::string out;
  const std::vector<uint32_t> code_points = CodePoints(text);
  for (size_t i = 0; i < code_points.size(); ++i) {
    if (IsUpper(code_points[i])) {
      AppendLower(code_points, i, &out);
    } else if (IsLower(code_points[i])) {
      AppendUpper(code_points[i], false, &out);
    } else {
      AppendUtf8(code_points[i], &out);
    }
  }
  return out;
}

}  // namespace deepshock::jinja
