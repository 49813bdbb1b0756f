// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "base/json.h"
#include "base/utf8.h"
#include "text/tokenizer_fields.h"

namespace deepshock {
namespace {

// Replacing and prepending may lengthen text, and a hostile file could double it step after step.
constexpr size_t kMaxGrowth = 64;
constexpr size_t kMaxSmallBytes = 1 << 20;

enum class Kind { kNfc, kNfd, kNfkc, kNfkd, kReplace, kPrepend, kStrip, kLowercase, kStripAccents };

struct MarkRange {
  utf8proc_int32_t first, last;
};

// Marks that Unicode 10 to 16 added. Hugging Face tokenizers normalizes by Unicode 9 (its crate
// unicode-normalization-alignments), which leaves them where they stand; ids must not differ. Sorted.
constexpr MarkRange kLaterMarks[] = {
    {0x7fd, 0x7fd},     {0x897, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xcf3, 0xcf3},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0xece, 0xece},     {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10d27}, {0x10d69, 0x10d6d},
    {0x10eab, 0x10eac}, {0x10efc, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070},
    {0x11241, 0x11241}, {0x1133b, 0x1133b}, {0x113b8, 0x113c0}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5},
    {0x113c7, 0x113ca}, {0x113cc, 0x113d0}, {0x113d2, 0x113d2}, {0x113e1, 0x113e2}, {0x1145e, 0x1145e},
    {0x11839, 0x1183a}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
    {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
    {0x11f00, 0x11f01}, {0x11f03, 0x11f03}, {0x11f34, 0x11f3a}, {0x11f3e, 0x11f42}, {0x11f5a, 0x11f5a},
    {0x13440, 0x13440}, {0x13447, 0x13455}, {0x1611e, 0x1612f}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f},
    {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef},
};

bool IsLaterMark(utf8proc_int32_t code_point) {
  if (code_point < std::begin(kLaterMarks)->first) return false;
  const auto* at =
      std::upper_bound(std::begin(kLaterMarks), std::end(kLaterMarks), code_point,
                       [](utf8proc_int32_t c, const MarkRange& range) { return c < range.first; });
  return code_point <= std::prev(at)->last;
}

int CombiningClass(utf8proc_int32_t code_point) {
  const int combining_class = utf8proc_get_property(code_point)->combining_class;
  return combining_class == 0 || IsLaterMark(code_point) ? 0 : combining_class;
}

// Puts every run of marks into canonical order. (utf8proc's own sorting takes quadratic time for long runs.)
void OrderMarks(std::vector<utf8proc_int32_t>& code_points) {
  for (size_t i = 0; i < code_points.size(); ++i) {
    if (CombiningClass(code_points[i]) == 0) continue;
    size_t end = i;
    while (end < code_points.size() && CombiningClass(code_points[end]) != 0) ++end;
    std::stable_sort(
        code_points.begin() + static_cast<std::ptrdiff_t>(i),
        code_points.begin() + static_cast<std::ptrdiff_t>(end),
        [](utf8proc_int32_t a, utf8proc_int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    i = end - 1;
  }
}

// Composes in place; a later mark begins anew.
void Compose(std::vector<utf8proc_int32_t>& code_points, utf8proc_option_t options) {
  size_t written = 0;
  for (size_t begin = 0; begin < code_points.size();) {
    size_t end = begin + 1;
    while (end < code_points.size() && !IsLaterMark(code_points[end])) ++end;
    const auto length = utf8proc_normalize_utf32(code_points.data() + begin,
                                                 static_cast<utf8proc_ssize_t>(end - begin), options);
    DS_CHECK(length >= 0, "utf8proc refuses its own code points");
    const auto from = code_points.begin() + static_cast<std::ptrdiff_t>(begin);
    std::copy(from, from + length, code_points.begin() + static_cast<std::ptrdiff_t>(written));
    written += static_cast<size_t>(length);
    begin = end;
  }
  code_points.resize(written);
}

void Normalize(std::string_view text, bool compose, bool compatibility, std::string* out) {
  const int options = (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | UTF8PROC_STABLE |
                      (compatibility ? UTF8PROC_COMPAT : 0);
  std::vector<utf8proc_int32_t> code_points;
  code_points.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    utf8proc_int32_t parts[32];  // the longest compatibility decomposition has 18
    int last_boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.code_point), parts, 32,
                                               static_cast<utf8proc_option_t>(options), &last_boundary);
    if (count > 0 && count <= 32) {
      code_points.insert(code_points.end(), parts, parts + count);
    } else {
      code_points.push_back(static_cast<utf8proc_int32_t>(c.code_point));
    }
    i += static_cast<size_t>(c.length);
  }
  OrderMarks(code_points);
  if (compose) Compose(code_points, static_cast<utf8proc_option_t>(options));
  out->clear();
  for (const utf8proc_int32_t c : code_points) AppendUtf8(static_cast<uint32_t>(c), out);
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Below U+0300 every character is its own NFC form and none combines with its neighbours.
bool IsBelowMarks(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0xcc; });
}

void Lowercase(std::string_view text, std::string* out) {
  out->clear();
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    i += static_cast<size_t>(c.length);
    if (c.code_point == 0x130) {  // the one character whose lower case is two (SpecialCasing.txt)
      *out += "i\xcc\x87";
    } else {
      AppendUtf8(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code_point))), out);
    }
  }
}

void StripAccents(std::string_view text, std::string* out) {
  out->clear();
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const bool is_mark =
        IsMarkChar(c.code_point) && !IsLaterMark(static_cast<utf8proc_int32_t>(c.code_point));
    if (!is_mark) out->append(text.substr(i, static_cast<size_t>(c.length)));
    i += static_cast<size_t>(c.length);
  }
}

std::string_view StripSpace(std::string_view text, bool left, bool right) {
  while (left && !text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    if (!IsSpaceChar(c.code_point)) break;
    text.remove_prefix(static_cast<size_t>(c.length));
  }
  while (right && !text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) --start;
    if (!IsSpaceChar(DecodeUtf8(text.substr(start)).code_point)) break;
    text = text.substr(0, start);
  }
  return text;
}

}  // namespace

struct Normalizer::Step {
  Kind kind;
  TextPattern pattern;               // kReplace
  std::string content;               // kReplace, kPrepend
  bool left = false, right = false;  // kStrip

  // Returns false where nothing changes.
  bool Apply(std::string_view text, RegexScratch& scratch, std::string* out) const;
};

Normalizer::Normalizer() = default;
Normalizer::~Normalizer() = default;
Normalizer::Normalizer(Normalizer&&) noexcept = default;
Normalizer& Normalizer::operator=(Normalizer&&) noexcept = default;

bool Normalizer::Step::Apply(std::string_view text, RegexScratch& scratch, std::string* out) const {
  switch (kind) {
    case Kind::kNfc:
      if (IsBelowMarks(text)) return false;
      Normalize(text, true, false, out);
      return true;
    case Kind::kNfd:
    case Kind::kNfkc:
    case Kind::kNfkd:
      if (IsAscii(text)) return false;
      Normalize(text, kind == Kind::kNfkc, kind != Kind::kNfd, out);
      return true;
    case Kind::kReplace:
      *out = pattern.ReplaceAll(text, content, scratch);
      return true;
    case Kind::kPrepend:
      if (text.empty()) return false;
      *out = content;
      out->append(text);
      return true;
    case Kind::kStrip:
      *out = StripSpace(text, left, right);
      return true;
    case Kind::kLowercase:
      Lowercase(text, out);
      return true;
    case Kind::kStripAccents:
      StripAccents(text, out);
      return true;
  }
  return false;
}

std::string_view Normalizer::Apply(std::string_view text, RegexScratch& scratch, std::string* buffer) const {
  std::string next;
  const size_t limit = text.size() * kMaxGrowth + kMaxSmallBytes;
  for (const Step& step : steps_) {
    if (text.size() > limit) break;
    if (!step.Apply(text, scratch, &next)) continue;
    buffer->swap(next);
    text = *buffer;
  }
  return text;
}

Normalizer Normalizer::Nfc() {
  Normalizer result;
  result.steps_.push_back({Kind::kNfc, TextPattern(), "", false, false});
  return result;
}

Normalizer Normalizer::SentencePiece(bool prepends_space) {
  constexpr char kSpace[] = "\xe2\x96\x81";
  Normalizer result;
  if (prepends_space) result.steps_.push_back({Kind::kPrepend, TextPattern(), kSpace, false, false});
  auto space = TextPattern::FromLiteral(" ");
  result.steps_.push_back({Kind::kReplace, std::move(space).value(), kSpace, false, false});
  return result;
}

Result<Normalizer> Normalizer::FromJson(const Json& json) {
  Normalizer result;
  if (!json.is_null()) DS_RETURN_IF_ERROR(result.Add(json, 0));
  return result;
}

Status Normalizer::Add(const Json& json, int depth) {
  DS_ASSIGN(const std::string type, ReadString(json, "type", "normalizer"));
  const std::string where = "normalizer " + type;
  Step step{};
  if (type == "Sequence") {
    DS_ASSIGN(const Json* parts, ReadParts(json, "normalizers", depth, where));
    for (const Json& part : *parts) DS_RETURN_IF_ERROR(Add(part, depth + 1));
    return {};
  }
  if (type == "NFC") {
    step.kind = Kind::kNfc;
  } else if (type == "NFD") {
    step.kind = Kind::kNfd;
  } else if (type == "NFKC") {
    step.kind = Kind::kNfkc;
  } else if (type == "NFKD") {
    step.kind = Kind::kNfkd;
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else if (type == "StripAccents") {
    step.kind = Kind::kStripAccents;
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    DS_ASSIGN(step.content, ReadString(json, "content", where));
    if (step.content.size() > kMaxGrowth) {
      return Fail("{}: expected \"content\" of at most {} bytes, found {}", where, kMaxGrowth,
                  step.content.size());
    }
    DS_ASSIGN(step.pattern, TextPattern::FromJson(json.value("pattern", Json()), where));
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    DS_ASSIGN(step.content, ReadString(json, "prepend", where));
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    DS_ASSIGN(step.left, ReadBool(json, "strip_left", true, where));
    DS_ASSIGN(step.right, ReadBool(json, "strip_right", true, where));
  } else {
    return Fail("normalizer \"{}\" is not supported", type);
  }
  steps_.push_back(std::move(step));
  return {};
}

}  // namespace deepshock
