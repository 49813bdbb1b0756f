// SPDX-License-Identifier: Apache-2.0
// str.split, strip, splitlines, number text and repr.
#include "text/jinja_text.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/utf8.h"

namespace deepshock::jinja {
namespace {

// Where str.splitlines breaks, besides "\r\n".
bool IsLineBreak(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

// str.isprintable: everything but the "Other" and "Separator" categories; the space is printable.
bool IsPrintable(uint32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
  }
}

// Decimal digits grouped by single underscores, as Python's number literals allow: "1_000". Empty if
// malformed.
std::string WithoutUnderscores(std::string_view digits) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (digits[i] != '_') {
      out.push_back(digits[i]);
    } else if (i == 0 || i + 1 == digits.size() || !std::isalnum(static_cast<uint8_t>(digits[i - 1])) ||
               !std::isalnum(static_cast<uint8_t>(digits[i + 1]))) {
      return "";
    }
  }
  return out;
}

bool Contains(std::string_view chars, std::string_view character) {
  return chars.find(character) != std::string_view::npos;
}

}  // namespace

bool IsSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::vector<uint32_t> CodePoints(std::string_view text) {
  std::vector<uint32_t> out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    out.push_back(c.code_point);
    i += static_cast<size_t>(c.length);
  }
  return out;
}

std::string FromCodePoints(const std::vector<uint32_t>& code_points) {
  std::string out;
  out.reserve(code_points.size());
  for (const uint32_t c : code_points) AppendUtf8(c, &out);
  return out;
}

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(),
                                           [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

std::vector<size_t> CharacterOffsets(std::string_view text) {
  std::vector<size_t> out;
  out.reserve(text.size() + 1);
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<uint8_t>(text[i]) & 0xC0) != 0x80) out.push_back(i);
  }
  out.push_back(text.size());
  return out;
}

std::string_view Strip(std::string_view text, std::optional<std::string_view> chars, Side side) {
  const auto strips = [&](std::string_view at, int* length) {
    const Utf8Char c = DecodeUtf8(at);
    *length = c.length;
    return chars ? Contains(*chars, at.substr(0, static_cast<size_t>(c.length))) : IsSpace(c.code_point);
  };
  int length = 0;
  if (side != Side::kRight) {
    while (!text.empty() && strips(text, &length)) text.remove_prefix(static_cast<size_t>(length));
  }
  if (side != Side::kLeft) {
    while (!text.empty()) {
      size_t last = text.size() - 1;
      while (last > 0 && (static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
      if (!strips(text.substr(last), &length)) break;
      text = text.substr(0, last);
    }
  }
  return text;
}

std::vector<std::string_view> SplitWords(std::string_view text, int64_t max_splits, bool from_right) {
  std::vector<std::string_view> out;
  const Side near = from_right ? Side::kRight : Side::kLeft;
  text = Strip(text, std::nullopt, near);
  while (!text.empty()) {
    if (max_splits >= 0 && static_cast<int64_t>(out.size()) == max_splits) {
      out.push_back(Strip(text, std::nullopt, from_right ? Side::kLeft : Side::kRight));
      break;
    }
    // The boundary between the word at the near end and the space beyond it.
    size_t cut = from_right ? text.size() : 0;
    while (from_right ? cut > 0 : cut < text.size()) {
      size_t at = from_right ? cut - 1 : cut;
      while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
      const Utf8Char c = DecodeUtf8(text.substr(at));
      if (IsSpace(c.code_point)) break;
      cut = from_right ? at : at + static_cast<size_t>(c.length);
    }
    out.push_back(from_right ? text.substr(cut) : text.substr(0, cut));
    text = Strip(from_right ? text.substr(0, cut) : text.substr(cut), std::nullopt, near);
  }
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string_view> SplitOn(std::string_view text, std::string_view separator, int64_t max_splits,
                                      bool from_right) {
  std::vector<std::string_view> out;
  while (max_splits < 0 || static_cast<int64_t>(out.size()) < max_splits) {
    const size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    const std::string_view after = text.substr(at + separator.size());
    out.push_back(from_right ? after : text.substr(0, at));
    text = from_right ? text.substr(0, at) : after;
  }
  out.push_back(text);
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> out;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    size_t next = i + static_cast<size_t>(c.length);
    if (IsLineBreak(c.code_point)) {
      if (c.code_point == '\r' && next < text.size() && text[next] == '\n') ++next;
      out.push_back(text.substr(begin, (keep_ends ? next : i) - begin));
      begin = next;
    }
    i = next;
  }
  if (begin < text.size()) out.push_back(text.substr(begin));
  return out;
}

size_t CountOccurrences(std::string_view text, std::string_view part) {
  if (part.empty()) return CountCharacters(text) + 1;
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++count;
  return count;
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      default: out.push_back(c);
    }
  }
  return out;
}

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  const std::string_view scientific(buffer, static_cast<size_t>(end - buffer));  // "-1.25e+02"
  const size_t e = scientific.find('e');
  int exponent = 0;
  const char* exponent_begin = buffer + e + (scientific[e + 1] == '+' ? 2 : 1);
  std::from_chars(exponent_begin, end, exponent);
  const bool negative = scientific[0] == '-';
  std::string digits;
  for (const char c : scientific.substr(negative ? 1 : 0, e - (negative ? 1 : 0))) {
    if (c != '.') digits.push_back(c);
  }
  std::string out = negative ? "-" : "";
  if (exponent < -4 || exponent >= 16) {  // Python switches to an exponent there
    out += digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02d}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string TextRepr(std::string_view text) {
  const bool double_quotes = Contains(text, "'") && !Contains(text, "\"");
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const auto length = static_cast<size_t>(c.length);
    const uint32_t p = c.code_point;
    if (p == '\\' || p == static_cast<uint8_t>(quote)) {
      out.push_back('\\');
      out.push_back(static_cast<char>(p));
    } else if (p == '\n' || p == '\r' || p == '\t') {
      out += p == '\n' ? "\\n" : p == '\r' ? "\\r" : "\\t";
    } else if (IsPrintable(p)) {
      out.append(text.substr(i, length));
    } else {
      out += p < 0x100     ? fmt::format("\\x{:02x}", p)
             : p < 0x10000 ? fmt::format("\\u{:04x}", p)
                           : fmt::format("\\U{:08x}", p);
    }
    i += length;
  }
  out.push_back(quote);
  return out;
}

std::optional<int64_t> ParseInt(std::string_view text, int64_t base) {
  text = Strip(text, std::nullopt, Side::kBoth);
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.size() > 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int64_t prefixed = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefixed != 0 && (base == 0 || base == prefixed)) {
      base = prefixed;
      text.remove_prefix(text[2] == '_' ? 3 : 2);
    }
  }
  if (base == 0) {
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != std::string_view::npos)
      return {};
    base = 10;
  }
  if (base < 2 || base > 36) return std::nullopt;
  const std::string digits = WithoutUnderscores(text);
  if (digits.empty() || digits[0] == '-' || digits[0] == '+') return std::nullopt;
  int64_t value = 0;
  const std::string signed_digits = (negative ? "-" : "") + digits;
  const char* end = signed_digits.data() + signed_digits.size();
  const auto [stop, error] = std::from_chars(signed_digits.data(), end, value, static_cast<int>(base));
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::optional<double> ParseFloat(std::string_view text) {
  text = Strip(text, std::nullopt, Side::kBoth);
  std::string number = WithoutUnderscores(text);
  const bool negative = !number.empty() && number[0] == '-';
  if (!number.empty() && (number[0] == '-' || number[0] == '+')) number.erase(0, 1);
  const std::string lower = Lower(number);
  const double sign = negative ? -1.0 : 1.0;
  if (lower == "inf" || lower == "infinity") return sign * std::numeric_limits<double>::infinity();
  if (lower == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (number.empty() || number.find_first_not_of("0123456789.eE+-") != std::string::npos) return std::nullopt;
  double value = 0;
  const char* end = number.data() + number.size();
  const auto [stop, error] = std::from_chars(number.data(), end, value);
  if (stop != end || number[0] == '-') return std::nullopt;
  if (error == std::errc::result_out_of_range) {  // Python: infinity, or zero
    const size_t e = lower.find('e');
    const bool tiny = (e != std::string::npos && lower.find('-', e) != std::string::npos) || lower[0] == '0';
    return sign * (tiny ? 0.0 : std::numeric_limits<double>::infinity());
  }
  if (error != std::errc()) return std::nullopt;
  return sign * value;
}

}  // namespace deepshock::jinja
