// SPDX-License-Identifier: Apache-2.0
#include "grammar/code_points.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"

namespace deepshock {
namespace {

constexpr uint32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

// The character after "\" for those that have one.
char ShortEscape(uint32_t code_point) {
  switch (code_point) {
    case '"':
      return '"';
    case '\\':
      return '\\';
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
  }
  return 0;
}

bool IsEscaped(uint32_t code_point) { return code_point < 0x20 || code_point == '"' || code_point == '\\'; }

// Code points low to high, whose UTF-8 has the same length: byte by byte, where the first may differ the rest
// is free.
void AddUtf8(Nfa* nfa, uint32_t from, const std::string& low, const std::string& high, uint32_t to) {
  const auto first = static_cast<uint8_t>(low[0]), last = static_cast<uint8_t>(high[0]);
  if (low.size() == 1) return nfa->Bytes(from, first, last, to);
  const std::string least(low.size() - 1, '\x80'), most(low.size() - 1, '\xbf');
  const auto through = [&](uint8_t begin, uint8_t end, const std::string& a, const std::string& b) {
    const uint32_t next = nfa->NewState();
    nfa->Bytes(from, begin, end, next);
    AddUtf8(nfa, next, a, b, to);
  };
  if (first == last) return through(first, first, low.substr(1), high.substr(1));
  uint8_t begin = first, end = last;
  if (low.substr(1) != least) through(begin++, first, low.substr(1), most);
  if (high.substr(1) != most) through(end--, last, least, high.substr(1));
  if (begin <= end) through(begin, end, least, most);
}

void AddHex(Nfa* nfa, uint32_t from, uint32_t low, uint32_t high, uint32_t to) {
  for (uint32_t digit = low; digit <= high; ++digit) {
    const std::string text = fmt::format("{:x}", digit);
    const auto c = static_cast<uint8_t>(text[0]);
    nfa->Bytes(from, c, c, to);
    if (digit >= 10) nfa->Bytes(from, static_cast<uint8_t>(c - 32), static_cast<uint8_t>(c - 32), to);
  }
}

// "\uXXXX" after the backslash, the digits in these ranges.
void AddUnicodeEscape(Nfa* nfa, uint32_t from, const std::vector<CodePointSet::Range>& digits, uint32_t to) {
  uint32_t state = nfa->NewState();
  nfa->Bytes(from, 'u', 'u', state);
  for (size_t i = 0; i < digits.size(); ++i) {
    const uint32_t next = i + 1 == digits.size() ? to : nfa->NewState();
    AddHex(nfa, state, digits[i].low, digits[i].high, next);
    state = next;
  }
}

}  // namespace

void CodePointSet::Add(const CodePointSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
}

std::vector<CodePointSet::Range> CodePointSet::ranges() const {
  std::vector<Range> all;
  for (const Range& range : ranges_) {
    const Range below{range.low, std::min(range.high, kFirstSurrogate - 1)};
    const Range above{std::max(range.low, kLastSurrogate + 1), std::min(range.high, kMax)};
    if (below.low <= below.high) all.push_back(below);
    if (above.low <= above.high) all.push_back(above);
  }
  std::sort(all.begin(), all.end(), [](const Range& a, const Range& b) { return a.low < b.low; });
  std::vector<Range> merged;
  for (const Range& range : all) {
    if (!merged.empty() && range.low <= merged.back().high + 1) {
      merged.back().high = std::max(merged.back().high, range.high);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

CodePointSet CodePointSet::Complement() const {
  CodePointSet result;
  uint32_t next = 0;
  for (const Range& range : ranges()) {
    if (range.low > next) result.Add(next, range.low - 1);
    next = range.high + 1;
  }
  if (next <= kMax) result.Add(next, kMax);
  return result;
}

void AddCharacter(Nfa* nfa, uint32_t from, const CodePointSet& set, Spelling spelling, uint32_t to) {
  std::vector<CodePointSet::Range> plain;
  std::string escaped;
  for (CodePointSet::Range range : set.ranges()) {
    while (spelling == Spelling::kJson && range.low <= range.high && range.low <= '\\') {
      if (IsEscaped(range.low)) {
        escaped += static_cast<char>(range.low);
        ++range.low;
        continue;
      }
      const uint32_t last = range.low < '"' ? '"' - 1 : '\\' - 1;
      plain.push_back({range.low, std::min(range.high, last)});
      range.low = plain.back().high + 1;
    }
    if (range.low <= range.high) plain.push_back(range);
  }
  for (const CodePointSet::Range& range : plain) {
    // Borders between lengths of UTF-8.
    uint32_t low = range.low;
    for (const uint32_t last : {0x7Fu, 0x7FFu, 0xFFFFu, CodePointSet::kMax}) {
      if (low > range.high || low > last) continue;
      std::string a, b;
      AppendUtf8(low, &a);
      AppendUtf8(std::min(range.high, last), &b);
      AddUtf8(nfa, from, a, b, to);
      low = last + 1;
    }
  }
  if (escaped.empty()) return;
  const uint32_t backslash = nfa->NewState();
  nfa->Bytes(from, '\\', '\\', backslash);
  for (const char c : escaped) {
    const auto code_point = static_cast<uint8_t>(c);
    if (const char name = ShortEscape(code_point); name != 0) {
      nfa->Bytes(backslash, static_cast<uint8_t>(name), static_cast<uint8_t>(name), to);
    } else {
      AddUnicodeEscape(
          nfa, backslash,
          {{0, 0}, {0, 0}, {code_point / 16u, code_point / 16u}, {code_point % 16u, code_point % 16u}}, to);
    }
  }
}

void AddJsonCharacter(Nfa* nfa, uint32_t from, uint32_t to) {
  AddCharacter(nfa, from, {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, CodePointSet::kMax}},
               Spelling::kPlain, to);
  const uint32_t backslash = nfa->NewState();
  nfa->Bytes(from, '\\', '\\', backslash);
  for (const char c : std::string_view("\"\\/bfnrt")) {
    nfa->Bytes(backslash, static_cast<uint8_t>(c), static_cast<uint8_t>(c), to);
  }
  const CodePointSet::Range any{0, 15};
  // Not a surrogate, or two of them that make one character.
  AddUnicodeEscape(nfa, backslash, {{0, 12}, any, any, any}, to);
  AddUnicodeEscape(nfa, backslash, {{14, 15}, any, any, any}, to);
  AddUnicodeEscape(nfa, backslash, {{13, 13}, {0, 7}, any, any}, to);
  const uint32_t half = nfa->NewState(), low = nfa->NewState();
  AddUnicodeEscape(nfa, backslash, {{13, 13}, {8, 11}, any, any}, half);
  nfa->Bytes(half, '\\', '\\', low);
  AddUnicodeEscape(nfa, low, {{13, 13}, {12, 15}, any, any}, to);
}

std::string JsonSpelling(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (!IsEscaped(byte)) {
      out += c;
    } else if (const char name = ShortEscape(byte); name != 0) {
      out += '\\';
      out += name;
    } else {
      out += fmt::format("\\u{:04x}", byte);
    }
  }
  return out;
}

}  // namespace deepshock
