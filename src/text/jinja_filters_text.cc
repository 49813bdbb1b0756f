// SPDX-License-Identifier: Apache-2.0
// Filters that make text or numbers out of one value.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/utf8.h"
#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

using TextFunction = std::string (*)(std::string_view);

template <TextFunction function>
Result<Value> Mapped(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("filter", a, {}, 0).status());
  const std::string text = engine.Str(v);
  if (!engine.budget()->Spend(text.size() / 16)) return engine.budget()->status();
  return NewText(function(text), engine.budget(), v.markup());
}

// The filter `title`: words begin after white space, hyphens and opening brackets, not after apostrophes.
std::string TitleWords(std::string_view text) {
  std::string out;
  std::string word;
  const auto flush = [&] {
    if (word.empty()) return;
    const auto first = static_cast<size_t>(DecodeUtf8(word).length);
    out += Upper(word.substr(0, first)) + Lower(word.substr(first));
    word.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const auto length = static_cast<size_t>(c.length);
    const bool breaks =
        IsSpace(c.code_point) ||
        (c.code_point < 0x80 && std::string_view("-({[<").find(text[i]) != std::string_view::npos);
    if (breaks) flush();
    (breaks ? out : word).append(text.substr(i, length));
    i += length;
  }
  flush();
  return out;
}

Result<Value> Trim(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("trim", a, {"chars"}, 0));
  std::optional<std::string_view> chars;
  if (b[0] != nullptr && !b[0]->Is(Kind::kNone)) {
    if (!b[0]->Is(Kind::kString)) return Fail("trim: expected str, found '{}'", TypeName(*b[0]));
    chars = b[0]->text();
  }
  const std::string text = engine.Str(v);
  if (chars && !engine.budget()->Spend(text.size() / 64 * (1 + chars->size() / 16)))
    return engine.budget()->status();
  return NewText(std::string(Strip(text, chars, Side::kBoth)), engine.budget(), v.markup());
}

Result<Value> StringFilter(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("string", a, {}, 0).status());
  if (v.Is(Kind::kString)) return v;
  return Value::String(engine.Str(v));
}

Result<Value> Replace(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("replace", a, {"old", "new", "count"}, 2));
  const bool all = b[2] == nullptr || b[2]->Is(Kind::kNone);
  DS_ASSIGN(int64_t left, IntegerOr(all ? nullptr : b[2], -1, "count"));
  const std::string text = engine.Str(v);
  const std::string old = engine.Str(*b[0]);
  const std::string now = engine.Str(*b[1]);
  const uint64_t times = CountOccurrences(text, old);
  uint64_t growth = 0;
  if (__builtin_mul_overflow(times, now.size(), &growth)) growth = std::numeric_limits<uint64_t>::max() / 2;
  if (!engine.budget()->SpendText(text.size() + growth)) return engine.budget()->status();
  std::string out;
  size_t from = 0;
  while (left != 0 && from <= text.size()) {
    const size_t at = text.find(old, from);
    if (at == std::string::npos) break;
    out.append(text, from, at - from);
    out += now;
    from = at + old.size();
    --left;
    if (!old.empty()) continue;
    if (from == text.size()) return Value::String(std::move(out));  // an empty text is found at the end too
    const auto length = static_cast<size_t>(DecodeUtf8(std::string_view(text).substr(from)).length);
    out.append(text, from, length);
    from += length;
  }
  out.append(text, from, std::string::npos);
  return Value::String(std::move(out));
}

Result<Value> Indent(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("indent", a, {"width", "first", "blank"}, 0));
  if (!v.Is(Kind::kString)) {
    if (v.Is(Kind::kUndefined)) return UndefinedError(v);
    return Fail("indent: expected str, found '{}'", TypeName(v));
  }
  std::string indention;
  if (b[0] != nullptr && b[0]->Is(Kind::kString)) {
    indention = b[0]->text();
  } else {
    DS_ASSIGN(const int64_t width, IntegerOr(b[0], 4, "indent"));
    if (width > static_cast<int64_t>(kMaxPaddedWidth))
      return Fail("indent: a width of {} is too large", width);
    indention.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  const std::string text = v.text() + "\n";
  const bool blank = TruthOr(b[2], false);
  std::string out = TruthOr(b[1], false) ? indention : "";
  const std::vector<std::string_view> lines = SplitLines(text, false);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!engine.budget()->SpendText(lines[i].size() + indention.size() + 1)) return engine.budget()->status();
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indention;
    out += lines[i];
  }
  return Value::String(std::move(out), v.markup());
}

Result<Value> Truncate(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("truncate", a, {"length", "killwords", "end", "leeway"}, 0));
  DS_ASSIGN(const int64_t length, IntegerOr(b[0], 255, "truncate"));
  const bool default_leeway = b[3] == nullptr || b[3]->Is(Kind::kNone);
  DS_ASSIGN(const int64_t leeway, IntegerOr(default_leeway ? nullptr : b[3], 5, "truncate"));
  const Value end = b[2] != nullptr ? *b[2] : Value::String("...");
  if (!end.Is(Kind::kString)) return Fail("truncate: expected str as end, found '{}'", TypeName(end));
  DS_ASSIGN(const int64_t end_length, Length(end));
  if (length < end_length || leeway < 0) return Fail("truncate: the length is shorter than the end");
  DS_ASSIGN(const int64_t size, Length(v));
  if (size - leeway <= length) return v;
  if (!v.Is(Kind::kString)) return Fail("truncate: expected str, found '{}'", TypeName(v));
  DS_ASSIGN(const Value kept,
            Slice(v, Value::None(), Value::Int(length - end_length), Value::None(), engine.budget()));
  std::string_view text = kept.text();
  if (!TruthOr(b[1], false)) text = text.substr(0, text.rfind(' '));
  return NewText(std::string(text) + end.text(), engine.budget(), v.markup());
}

Result<Value> WordCount(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("wordcount", a, {}, 0).status());
  const std::string text = engine.Str(v);
  if (!engine.budget()->Spend(text.size() / 16)) return engine.budget()->status();
  int64_t count = 0;
  bool inside = false;
  for (const uint32_t c : CodePoints(text)) {
    const bool word = IsWordCharacter(c);
    count += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value::Int(count);
}

Result<Value> Center(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("center", a, {"width"}, 0));
  Arguments width;
  width.positional.push_back(b[0] != nullptr ? *b[0] : Value::Int(80));
  return FindTextMethod("center")(engine, v.Is(Kind::kString) ? v : Value::String(engine.Str(v)), width);
}

Result<Value> Safe(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("safe", a, {}, 0).status());
  return Value::String(engine.Str(v), true);
}

Result<Value> Escape(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("escape", a, {}, 0).status());
  if (v.Is(Kind::kString) && v.markup()) return v;
  return NewText(EscapeHtml(engine.Str(v)), engine.budget(), true);
}

Result<Value> ForceEscape(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("forceescape", a, {}, 0).status());
  return NewText(EscapeHtml(engine.Str(v)), engine.budget(), true);
}

std::string Quote(std::string_view text, bool query) {
  std::string out;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<uint8_t>(c)) != 0 || c == '_' || c == '.' || c == '-' ||
                       c == '~' || (c == '/' && !query);
    out += plain               ? std::string(1, c)
           : c == ' ' && query ? "+"
                               : fmt::format("%{:02X}", static_cast<uint8_t>(c));
  }
  return out;
}

Result<Value> UrlEncode(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("urlencode", a, {}, 0).status());
  if (v.Is(Kind::kString) || !IsIterable(v)) return NewText(Quote(engine.Str(v), false), engine.budget());
  std::vector<Value> pairs;
  if (v.Is(Kind::kDict)) {
    for (const auto& [key, value] : v.dict().entries()) {
      DS_ASSIGN(Value pair, Value::Tuple({key, value}, engine.budget()));
      pairs.push_back(std::move(pair));
    }
  } else {
    DS_ASSIGN(pairs, Iterate(v, engine.budget()));
  }
  std::string out;
  for (const Value& pair : pairs) {
    DS_ASSIGN(const std::vector<Value> parts, Iterate(pair, engine.budget()));
    if (parts.size() != 2) return Fail("urlencode: expected pairs");
    if (!out.empty()) out += '&';
    out += Quote(engine.Str(parts[0]), true) + "=" + Quote(engine.Str(parts[1]), true);
    if (!engine.budget()->SpendText(out.size() / 16)) return engine.budget()->status();
  }
  return NewText(std::move(out), engine.budget());
}

Result<Value> FormatFilter(Engine& engine, const Value& v, const Arguments& a) {
  if (!a.positional.empty() && !a.named.empty()) {
    return Fail("format: cannot handle positional and keyword arguments at the same time");
  }
  Value arguments;
  if (a.named.empty()) {
    DS_ASSIGN(arguments, Value::Tuple(a.positional, engine.budget()));
  } else {
    Dict dict;
    for (const auto& [name, value] : a.named) dict.Set(Value::String(name), value, engine.budget());
    DS_ASSIGN(arguments, Value::FromDict(std::move(dict), engine.budget()));
  }
  return PercentFormat(v.Is(Kind::kString) ? v : Value::String(engine.Str(v)), arguments, engine.budget());
}

Result<Value> Truncated(double value) {
  if (!(std::fabs(value) < 9.2233720368547758e18))
    return Fail("int: {} does not fit 64 bits", FloatRepr(value));
  return Value::Int(static_cast<int64_t>(value));
}

Result<Value> Int(Engine&, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("int", a, {"default", "base"}, 0));
  DS_ASSIGN(const int64_t base, IntegerOr(b[1], 10, "base"));
  const Value fallback = b[0] != nullptr ? *b[0] : Value::Int(0);
  if (v.Is(Kind::kUndefined)) return UndefinedError(v);
  if (v.IsInteger()) return Value::Int(v.integer());
  std::optional<double> real;
  if (v.Is(Kind::kString)) {
    if (const auto integer = ParseInt(v.text(), base)) return Value::Int(*integer);
    real = ParseFloat(v.text());
    if (real && std::isinf(*real)) return fallback;
  } else if (v.Is(Kind::kFloat)) {
    real = v.real();
  }
  if (!real || std::isnan(*real)) return fallback;
  return Truncated(*real);
}

Result<Value> Float(Engine&, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("float", a, {"default"}, 0));
  if (v.Is(Kind::kUndefined)) return UndefinedError(v);
  if (v.IsNumber()) return Value::Float(v.real());
  const auto parsed = v.Is(Kind::kString) ? ParseFloat(v.text()) : std::nullopt;
  if (parsed) return Value::Float(*parsed);
  return b[0] != nullptr ? *b[0] : Value::Float(0.0);
}

Result<Value> Abs(Engine&, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("abs", a, {}, 0).status());
  if (v.Is(Kind::kFloat)) return Value::Float(std::fabs(v.real()));
  if (!v.IsInteger()) return Fail("abs: expected a number, found '{}'", TypeName(v));
  return v.integer() < 0 ? Negate(v) : Value::Int(v.integer());
}

// round(): ties to even, on the decimal digits of the value, as Python does through its shortest-digits
// routines.
double RoundTo(double value, int precision) {
  if (!std::isfinite(value) || precision > 300) return value;
  if (precision < -310) return std::copysign(0.0, value);
  if (precision >= 0) return ParseFloat(fmt::format("{:.{}f}", value, precision)).value_or(value);
  const double scale = std::pow(10.0, -precision);
  return std::nearbyint(value / scale) * scale;
}

Result<Value> Round(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("round", a, {"precision", "method"}, 0));
  DS_ASSIGN(const int64_t precision, IntegerOr(b[0], 0, "round"));
  const std::string method = b[1] != nullptr ? engine.Str(*b[1]) : "common";
  if (v.Is(Kind::kUndefined)) return UndefinedError(v);
  if (!v.IsNumber()) return Fail("round: expected a number, found '{}'", TypeName(v));
  const int digits = static_cast<int>(std::clamp<int64_t>(precision, -400, 400));
  if (method == "common") {
    if (v.IsInteger() && digits >= 0) return Value::Int(v.integer());
    const double rounded = RoundTo(v.real(), digits);
    return v.IsInteger() ? Truncated(rounded) : Value::Float(rounded);
  }
  if (method != "ceil" && method != "floor") return Fail("round: method must be common, ceil or floor");
  const double scale = std::pow(10.0, digits);
  const double scaled = v.real() * scale;
  if (!std::isfinite(scaled) || scale == 0) return Fail("round: the result is too large");
  return Value::Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Result<Value> ToJsonFilter(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("tojson", a, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0));
  JsonStyle style;
  style.ensure_ascii = TruthOr(b[0], false);
  style.sort_keys = TruthOr(b[3], false);
  if (b[1] != nullptr && !b[1]->Is(Kind::kNone)) {
    if (b[1]->Is(Kind::kString)) {
      style.indent = b[1]->text();
    } else {
      DS_ASSIGN(const int64_t width, IntegerOr(b[1], 0, "tojson: indent"));
      if (width > static_cast<int64_t>(kMaxPaddedWidth))
        return Fail("tojson: an indent of {} is too large", width);
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
    style.item_separator = ",";
  }
  if (b[2] != nullptr && !b[2]->Is(Kind::kNone)) {
    DS_ASSIGN(const std::vector<Value> parts, Iterate(*b[2], engine.budget()));
    if (parts.size() != 2 || !parts[0].Is(Kind::kString) || !parts[1].Is(Kind::kString)) {
      return Fail("tojson: expected two texts as separators");
    }
    style.item_separator = parts[0].text();
    style.key_separator = parts[1].text();
  }
  DS_ASSIGN(std::string json, ToJson(v, style, engine.budget()));
  return Value::String(std::move(json));
}

struct Entry {
  std::string_view name;
  FilterFunction function;
};

constexpr Entry kFilters[] = {
    {"upper", Mapped<Upper>},
    {"lower", Mapped<Lower>},
    {"capitalize", Mapped<Capitalize>},
    {"title", Mapped<TitleWords>},
    {"trim", Trim},
    {"string", StringFilter},
    {"replace", Replace},
    {"indent", Indent},
    {"truncate", Truncate},
    {"wordcount", WordCount},
    {"center", Center},
    {"safe", Safe},
    {"escape", Escape},
    {"e", Escape},
    {"forceescape", ForceEscape},
    {"urlencode", UrlEncode},
    {"format", FormatFilter},
    {"int", Int},
    {"float", Float},
    {"abs", Abs},
    {"round", Round},
    {"tojson", ToJsonFilter},
};

}  // namespace

FilterFunction FindTextFilter(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const Entry& e) { return e.name == name; });
  return found == std::end(kFilters) ? nullptr : found->function;
}

FilterFunction FindFilter(std::string_view name) {
  const FilterFunction filter = FindTextFilter(name);
  return filter != nullptr ? filter : FindSequenceFilter(name);
}

}  // namespace deepshock::jinja
