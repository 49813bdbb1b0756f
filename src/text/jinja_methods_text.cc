// SPDX-License-Identifier: Apache-2.0
// Methods of str. All but split, rsplit, splitlines and format take positional arguments only.
#include <algorithm>
#include <limits>

#include "base/utf8.h"
#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

using Bound = std::vector<const Value*>;

Result<Bound> Positional(std::string_view name, const Arguments& a,
                         std::initializer_list<std::string_view> parameters, size_t required) {
  if (!a.named.empty()) return Fail("{}() takes no keyword arguments", name);
  return Bind(name, a, parameters, required);
}

Status ExpectText(const Value* value, std::string_view name) {
  if (value == nullptr || value->Is(Kind::kString)) return Status();
  if (value->Is(Kind::kUndefined)) return UndefinedError(*value);
  return Fail("{}: expected str, found '{}'", name, TypeName(*value));
}

Result<Value> Texts(Engine& engine, const std::vector<std::string_view>& parts, bool tuple = false) {
  std::vector<Value> items;
  if (!engine.budget()->Spend(2 * parts.size())) return engine.budget()->status();
  for (const std::string_view part : parts) {
    DS_ASSIGN(Value item, NewText(std::string(part), engine.budget()));
    items.push_back(std::move(item));
  }
  return tuple ? Value::Tuple(std::move(items), engine.budget())
               : Value::List(std::move(items), engine.budget());
}

template <Side side>
Result<Value> StripMethod(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional("strip", a, {"chars"}, 0));
  const bool space = b[0] == nullptr || b[0]->Is(Kind::kNone);
  if (!space) DS_RETURN_IF_ERROR(ExpectText(b[0], "strip"));
  const auto chars = space ? std::nullopt : std::optional<std::string_view>(b[0]->text());
  if (chars && !engine.budget()->Spend(self.text().size() / 64 * (1 + chars->size() / 16))) {
    return engine.budget()->status();
  }
  return NewText(std::string(Strip(self.text(), chars, side)), engine.budget(), self.markup());
}

template <bool from_right>
Result<Value> SplitMethod(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Bind("split", a, {"sep", "maxsplit"}, 0));
  DS_ASSIGN(const int64_t max_splits, IntegerOr(b[1], -1, "split"));
  if (b[0] == nullptr || b[0]->Is(Kind::kNone))
    return Texts(engine, SplitWords(self.text(), max_splits, from_right));
  DS_RETURN_IF_ERROR(ExpectText(b[0], "split"));
  if (b[0]->text().empty()) return Fail("split: empty separator");
  return Texts(engine, SplitOn(self.text(), b[0]->text(), max_splits, from_right));
}

Result<Value> SplitLinesMethod(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Bind("splitlines", a, {"keepends"}, 0));
  return Texts(engine, SplitLines(self.text(), TruthOr(b[0], false)));
}

template <bool from_right>
Result<Value> PartitionMethod(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional("partition", a, {"sep"}, 1));
  DS_RETURN_IF_ERROR(ExpectText(b[0], "partition"));
  const std::string_view text = self.text();
  const std::string_view separator = b[0]->text();
  if (separator.empty()) return Fail("partition: empty separator");
  const size_t at = from_right ? text.rfind(separator) : text.find(separator);
  if (at == std::string_view::npos) {
    return from_right ? Texts(engine, {"", "", text}, true) : Texts(engine, {text, "", ""}, true);
  }
  return Texts(engine, {text.substr(0, at), separator, text.substr(at + separator.size())}, true);
}

// The part of the text that [start, end) in characters picks, with the character that it begins at.
struct Window {
  std::string_view text;
  int64_t begin;
  bool valid;  // start lies within the text
};

Result<Window> Within(const Value& self, const Value* start, const Value* end) {
  const std::string_view text = self.text();
  const auto absent = [](const Value* v) { return v == nullptr || v->Is(Kind::kNone); };
  if (absent(start) && absent(end)) return Window{text, 0, true};
  const std::vector<size_t> offsets = CharacterOffsets(text);
  const auto size = static_cast<int64_t>(offsets.size()) - 1;
  DS_ASSIGN(int64_t first, IntegerOr(absent(start) ? nullptr : start, 0, "start"));
  DS_ASSIGN(int64_t last, IntegerOr(absent(end) ? nullptr : end, size, "end"));
  if (first < 0) first = std::max<int64_t>(first, -size) + size;
  if (last < 0) last = std::max<int64_t>(last, -size) + size;
  last = std::min(last, size);
  if (first > size || first > last) return Window{"", first, false};
  const size_t begin = offsets[static_cast<size_t>(first)];
  return Window{text.substr(begin, offsets[static_cast<size_t>(last)] - begin), first, true};
}

template <bool at_end>
Result<Value> StartsOrEnds(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional(at_end ? "endswith" : "startswith", a, {"prefix", "start", "end"}, 1));
  DS_ASSIGN(const Window window, Within(self, b[1], b[2]));
  std::vector<Value> candidates;
  if (b[0]->Is(Kind::kTuple)) {
    DS_ASSIGN(candidates, Iterate(*b[0], engine.budget()));
  } else {
    candidates.push_back(*b[0]);
  }
  for (const Value& candidate : candidates) {
    DS_RETURN_IF_ERROR(ExpectText(&candidate, at_end ? "endswith" : "startswith"));
    const std::string& part = candidate.text();
    if (!window.valid || part.size() > window.text.size()) continue;
    if (window.text.substr(at_end ? window.text.size() - part.size() : 0, part.size()) == part) {
      return Value::Bool(true);
    }
  }
  return Value::Bool(false);
}

template <bool from_right, bool must_be_there>
Result<Value> FindMethodText(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional("find", a, {"sub", "start", "end"}, 1));
  DS_RETURN_IF_ERROR(ExpectText(b[0], "find"));
  if (!engine.budget()->Spend(1 + self.text().size() / 64)) return engine.budget()->status();
  DS_ASSIGN(const Window window, Within(self, b[1], b[2]));
  const size_t at = from_right ? window.text.rfind(b[0]->text()) : window.text.find(b[0]->text());
  if (window.valid && at != std::string_view::npos) {
    return Value::Int(window.begin + static_cast<int64_t>(CountCharacters(window.text.substr(0, at))));
  }
  if (must_be_there) return Fail("index: substring not found");
  return Value::Int(-1);
}

Result<Value> CountMethod(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional("count", a, {"sub", "start", "end"}, 1));
  DS_RETURN_IF_ERROR(ExpectText(b[0], "count"));
  if (!engine.budget()->Spend(1 + self.text().size() / 64)) return engine.budget()->status();
  DS_ASSIGN(const Window window, Within(self, b[1], b[2]));
  return Value::Int(window.valid ? static_cast<int64_t>(CountOccurrences(window.text, b[0]->text())) : 0);
}

Result<Value> ReplaceMethod(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional("replace", a, {"old", "new", "count"}, 2));
  DS_RETURN_IF_ERROR(ExpectText(b[0], "replace"));
  DS_RETURN_IF_ERROR(ExpectText(b[1], "replace"));
  const FilterFunction filter = FindFilter("replace");
  DS_ASSIGN(Value out, filter(engine, self, a));
  return Value::String(out.text(), self.markup());
}

Result<Value> JoinMethod(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional("join", a, {"iterable"}, 1));
  DS_ASSIGN(const std::vector<Value> items, Iterate(*b[0], engine.budget()));
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    DS_RETURN_IF_ERROR(ExpectText(&items[i], "join"));
    if (!engine.budget()->SpendText(self.text().size() + items[i].text().size()))
      return engine.budget()->status();
    if (i > 0) out += self.text();
    out += items[i].text();
  }
  return Value::String(std::move(out), self.markup());
}

using TextFunction = std::string (*)(std::string_view);

template <TextFunction function>
Result<Value> Mapped(Engine& engine, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Positional("str method", a, {}, 0).status());
  if (!engine.budget()->Spend(self.text().size() / 16)) return engine.budget()->status();
  return NewText(function(self.text()), engine.budget(), self.markup());
}

template <bool suffix>
Result<Value> RemoveAffix(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional(suffix ? "removesuffix" : "removeprefix", a, {"affix"}, 1));
  DS_RETURN_IF_ERROR(ExpectText(b[0], "removeprefix"));
  const std::string_view text = self.text();
  const std::string& affix = b[0]->text();
  const bool has = text.size() >= affix.size() &&
                   text.substr(suffix ? text.size() - affix.size() : 0, affix.size()) == affix;
  if (!has) return self;
  const std::string_view rest =
      suffix ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size());
  return NewText(std::string(rest), engine.budget(), self.markup());
}

enum class Pad { kLeft, kRight, kBoth };

template <Pad pad>
Result<Value> PadMethod(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional("center", a, {"width", "fillchar"}, 1));
  DS_ASSIGN(const int64_t width, IntegerOr(b[0], 0, "width"));
  DS_RETURN_IF_ERROR(ExpectText(b[1], "fillchar"));
  const std::string fill = b[1] != nullptr ? b[1]->text() : " ";
  if (CountCharacters(fill) != 1) return Fail("the fill must be exactly one character long");
  if (width > static_cast<int64_t>(kMaxPaddedWidth)) return Fail("a width of {} is too large", width);
  const int64_t missing = width - static_cast<int64_t>(CountCharacters(self.text()));
  if (missing <= 0) return self;
  // str.center puts the odd blank on the left when the width is odd.
  const int64_t left = pad == Pad::kLeft    ? missing
                       : pad == Pad::kRight ? 0
                                            : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += self.text();
  for (int64_t i = left; i < missing; ++i) out += fill;
  return NewText(std::move(out), engine.budget(), self.markup());
}

Result<Value> ZeroFill(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const Bound b, Positional("zfill", a, {"width"}, 1));
  DS_ASSIGN(const int64_t width, IntegerOr(b[0], 0, "width"));
  if (width > static_cast<int64_t>(kMaxPaddedWidth)) return Fail("a width of {} is too large", width);
  const std::string& text = self.text();
  const int64_t missing = width - static_cast<int64_t>(CountCharacters(text));
  if (missing <= 0) return self;
  const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  return NewText(text.substr(0, sign) + std::string(static_cast<size_t>(missing), '0') + text.substr(sign),
                 engine.budget(), self.markup());
}

using CharacterTest = bool (*)(uint32_t);

bool IsAlphaNumeric(uint32_t c) { return IsAlpha(c) || IsNumeric(c); }

// Every character is of the class, and there is one.
template <CharacterTest test>
Result<Value> AllAre(Engine& engine, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Positional("str method", a, {}, 0).status());
  if (!engine.budget()->Spend(self.text().size() / 16)) return engine.budget()->status();
  const std::vector<uint32_t> text = CodePoints(self.text());
  return Value::Bool(!text.empty() && std::all_of(text.begin(), text.end(), test));
}

template <bool upper>
Result<Value> CaseIs(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const bool holds, FindTest(upper ? "upper" : "lower")(engine, self, a));
  return Value::Bool(holds);
}

Result<Value> IsTitle(Engine& engine, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Positional("istitle", a, {}, 0).status());
  if (!engine.budget()->Spend(self.text().size() / 16)) return engine.budget()->status();
  const std::vector<uint32_t> text = CodePoints(self.text());
  const bool cased =
      std::any_of(text.begin(), text.end(), [](uint32_t c) { return IsUpper(c) || IsLower(c); });
  return Value::Bool(cased && Title(self.text()) == self.text());
}

Result<Value> IsAscii(Engine&, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Positional("isascii", a, {}, 0).status());
  return Value::Bool(self.ascii());
}

Result<Value> IsIdentifier(Engine& engine, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Positional("isidentifier", a, {}, 0).status());
  if (!engine.budget()->Spend(self.text().size() / 16)) return engine.budget()->status();
  const std::vector<uint32_t> text = CodePoints(self.text());
  return Value::Bool(!text.empty() && !IsNumeric(text[0]) &&
                     std::all_of(text.begin(), text.end(), IsWordCharacter));
}

Result<Value> FormatMethod(Engine& engine, const Value& self, const Arguments& a) {
  return BraceFormat(engine, self, a);
}

struct Entry {
  std::string_view name;
  FilterFunction method;
};

constexpr Entry kMethods[] = {
    {"strip", StripMethod<Side::kBoth>},
    {"lstrip", StripMethod<Side::kLeft>},
    {"rstrip", StripMethod<Side::kRight>},
    {"split", SplitMethod<false>},
    {"rsplit", SplitMethod<true>},
    {"splitlines", SplitLinesMethod},
    {"partition", PartitionMethod<false>},
    {"rpartition", PartitionMethod<true>},
    {"startswith", StartsOrEnds<false>},
    {"endswith", StartsOrEnds<true>},
    {"find", FindMethodText<false, false>},
    {"rfind", FindMethodText<true, false>},
    {"index", FindMethodText<false, true>},
    {"rindex", FindMethodText<true, true>},
    {"count", CountMethod},
    {"replace", ReplaceMethod},
    {"join", JoinMethod},
    {"upper", Mapped<Upper>},
    {"lower", Mapped<Lower>},
    {"casefold", Mapped<Lower>},
    {"title", Mapped<Title>},
    {"capitalize", Mapped<Capitalize>},
    {"swapcase", Mapped<SwapCase>},
    {"removeprefix", RemoveAffix<false>},
    {"removesuffix", RemoveAffix<true>},
    {"center", PadMethod<Pad::kBoth>},
    {"ljust", PadMethod<Pad::kRight>},
    {"rjust", PadMethod<Pad::kLeft>},
    {"zfill", ZeroFill},
    {"isalpha", AllAre<IsAlpha>},
    {"isdigit", AllAre<IsDecimal>},
    {"isdecimal", AllAre<IsDecimal>},
    {"isnumeric", AllAre<IsNumeric>},
    {"isalnum", AllAre<IsAlphaNumeric>},
    {"isspace", AllAre<IsSpace>},
    {"islower", CaseIs<false>},
    {"isupper", CaseIs<true>},
    {"istitle", IsTitle},
    {"isascii", IsAscii},
    {"isidentifier", IsIdentifier},
    {"format", FormatMethod},
};

}  // namespace

FilterFunction FindTextMethod(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kMethods), std::end(kMethods), [&](const Entry& e) { return e.name == name; });
  return found == std::end(kMethods) ? nullptr : found->method;
}

}  // namespace deepshock::jinja
