// SPDX-License-Identifier: Apache-2.0
// Python's two ways of formatting text: "%d of %s" % (a, b) and "{} of {name}".format(...), with the parts of
// the format language that apply to texts, integers and floats.
#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

constexpr int kMaxPrecision = 300;

// [[fill]align][sign][#][0][width][,][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =
  char sign = '-';
  bool alternate = false;
  char grouping = '\0';
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

Result<int64_t> ReadNumber(std::string_view* text) {
  int64_t value = 0;
  while (!text->empty() && IsDigit(text->front())) {
    value = value * 10 + (text->front() - '0');
    if (value > static_cast<int64_t>(kMaxPaddedWidth))
      return Fail("format: a width or precision is too large");
    text->remove_prefix(1);
  }
  return value;
}

std::string Padded(std::string text, const Spec& spec, char default_align) {
  const char align = spec.align != '\0' ? spec.align : default_align;
  const int64_t missing = spec.width - static_cast<int64_t>(CountCharacters(text));
  if (missing <= 0) return text;
  const int64_t left = align == '>' || align == '=' ? missing : align == '^' ? missing / 2 : 0;
  std::string out;
  size_t sign = 0;
  if (align == '=') {
    sign = !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ') ? 1 : 0;
    if (text.size() > sign + 1 && text[sign] == '0' && std::isalpha(static_cast<uint8_t>(text[sign + 1])))
      sign += 2;
    out = text.substr(0, sign);
  }
  for (int64_t i = 0; i < left; ++i) out += spec.fill;
  out += text.substr(sign);
  for (int64_t i = left; i < missing; ++i) out += spec.fill;
  return out;
}

std::string Grouped(const std::string& digits, char separator) {
  std::string out;
  const size_t whole = std::min(digits.size(), digits.find_first_not_of("0123456789"));
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % 3 == 0) out.push_back(separator);
    out.push_back(digits[i]);
  }
  return out + digits.substr(whole);
}

std::string Signed(bool negative, char sign, std::string digits) {
  return (negative ? "-" : sign == '+' ? "+" : sign == ' ' ? " " : "") + digits;
}

Result<std::string> IntegerDigits(uint64_t magnitude, const Spec& spec) {
  switch (spec.type) {
    case '\0':
    case 'd':
    case 'n': return fmt::format("{}", magnitude);
    case 'x': return (spec.alternate ? "0x" : "") + fmt::format("{:x}", magnitude);
    case 'X': return (spec.alternate ? "0X" : "") + fmt::format("{:X}", magnitude);
    case 'o': return (spec.alternate ? "0o" : "") + fmt::format("{:o}", magnitude);
    case 'b': return (spec.alternate ? "0b" : "") + fmt::format("{:b}", magnitude);
    default: return Fail("format: unknown code '{}' for an integer", spec.type);
  }
}

Result<std::string> FloatDigits(double magnitude, const Spec& spec) {
  if (spec.precision > kMaxPrecision) return Fail("format: a precision of {} is too large", spec.precision);
  const int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
  switch (spec.type) {
    case 'f':
    case 'F': return fmt::format("{:.{}f}", magnitude, precision);
    case 'e': return fmt::format("{:.{}e}", magnitude, precision);
    case 'E': return fmt::format("{:.{}E}", magnitude, precision);
    case 'g': return fmt::format("{:.{}g}", magnitude, std::max(precision, 1));
    case 'G': return fmt::format("{:.{}G}", magnitude, std::max(precision, 1));
    case '%': return fmt::format("{:.{}f}%", magnitude * 100, precision);
    case '\0': {
      if (spec.precision < 0) return FloatRepr(magnitude);
      std::string digits = fmt::format("{:.{}g}", magnitude, std::max(precision, 1));
      if (digits.find_first_of(".en") == std::string::npos) digits += ".0";
      return digits;
    }
    default: return Fail("format: unknown code '{}' for a float", spec.type);
  }
}

Result<std::string> FormatNumber(const Value& value, const Spec& spec) {
  const bool as_float =
      value.Is(Kind::kFloat) || std::string_view("fFeEgG%").find(spec.type) != std::string_view::npos;
  std::string digits;
  bool negative = false;
  if (as_float && (value.Is(Kind::kFloat) || spec.type != '\0')) {
    negative = std::signbit(value.real());
    DS_ASSIGN(digits, FloatDigits(std::fabs(value.real()), spec));
  } else {
    if (spec.precision >= 0) return Fail("format: precision is not allowed for an integer");
    negative = value.integer() < 0;
    const auto bits = static_cast<uint64_t>(value.integer());
    DS_ASSIGN(digits, IntegerDigits(negative ? 0 - bits : bits, spec));
  }
  if (spec.grouping != '\0') digits = Grouped(digits, spec.grouping);
  return Padded(Signed(negative, spec.sign, std::move(digits)), spec, '>');
}

Result<Spec> ParseSpec(std::string_view text) {
  Spec spec;
  constexpr std::string_view kAligns = "<>^=";
  if (!text.empty()) {
    const auto first = static_cast<size_t>(DecodeUtf8(text).length);
    if (text.size() > first && kAligns.find(text[first]) != std::string_view::npos) {
      spec.fill = std::string(text.substr(0, first));
      spec.align = text[first];
      text.remove_prefix(first + 1);
    } else if (kAligns.find(text[0]) != std::string_view::npos) {
      spec.align = text[0];
      text.remove_prefix(1);
    }
  }
  const auto take = [&](std::string_view any) {
    if (text.empty() || any.find(text[0]) == std::string_view::npos) return '\0';
    const char c = text[0];
    text.remove_prefix(1);
    return c;
  };
  if (const char sign = take("+- ")) spec.sign = sign;
  spec.alternate = take("#") != '\0';
  if (take("0") != '\0' && spec.align == '\0') {
    spec.fill = "0";
    spec.align = '=';
  }
  DS_ASSIGN(spec.width, ReadNumber(&text));
  spec.grouping = take(",_");
  if (take(".") != '\0') {
    if (text.empty() || !IsDigit(text[0])) return Fail("format: a precision is missing");
    DS_ASSIGN(spec.precision, ReadNumber(&text));
  }
  if (!text.empty()) {
    spec.type = text[0];
    text.remove_prefix(1);
  }
  if (!text.empty()) return Fail("format: invalid format specifier");
  return spec;
}

std::string FirstCharacters(const std::string& text, int64_t count) {
  if (count < 0) return text;
  const std::vector<size_t> offsets = CharacterOffsets(text);
  return text.substr(0, offsets[std::min(static_cast<size_t>(count), offsets.size() - 1)]);
}

Result<std::string> FormatValue(const Value& value, std::string_view spec_text, Budget* budget) {
  if (spec_text.empty()) return Str(value, budget);
  DS_ASSIGN(Spec spec, ParseSpec(spec_text));
  if (!budget->SpendText(static_cast<uint64_t>(spec.width) * spec.fill.size())) return budget->status();
  if (value.IsNumber() && !(value.Is(Kind::kBool) && spec.type == 's')) return FormatNumber(value, spec);
  if (!value.Is(Kind::kString)) return Fail("format: unsupported format for '{}'", TypeName(value));
  if ((spec.type != '\0' && spec.type != 's') || spec.align == '=' || spec.grouping != '\0' ||
      spec.sign != '-') {
    return Fail("format: invalid format specifier for a string");
  }
  return Padded(FirstCharacters(value.text(), spec.precision), spec, '<');
}

class BraceFormatter {
 public:
  BraceFormatter(Engine& engine, const Arguments& arguments) : engine_(engine), arguments_(arguments) {}

  Result<std::string> Format(std::string_view format, int depth) {
    if (depth > 2) return Fail("format: fields are nested too deeply");
    std::string out;
    for (size_t i = 0; i < format.size(); ++i) {
      const char c = format[i];
      if ((c == '{' || c == '}') && i + 1 < format.size() && format[i + 1] == c) {
        out.push_back(c);
        ++i;
      } else if (c == '}') {
        return Fail("format: single '}}' encountered");
      } else if (c == '{') {
        const size_t end = FieldEnd(format, i);
        if (end == std::string_view::npos) return Fail("format: expected '}}' before end of string");
        DS_ASSIGN(const std::string field, Field(format.substr(i + 1, end - i - 1), depth));
        out += field;
        i = end;
      } else {
        out.push_back(c);
      }
    }
    return out;
  }

 private:
  static size_t FieldEnd(std::string_view format, size_t begin) {
    int open = 0;
    for (size_t i = begin; i < format.size(); ++i) {
      open += format[i] == '{' ? 1 : format[i] == '}' ? -1 : 0;
      if (open == 0) return i;
    }
    return std::string_view::npos;
  }

  Result<std::string> Field(std::string_view field, int depth) {
    if (!engine_.budget()->Spend(1)) return engine_.budget()->status();
    const size_t colon = field.find(':');
    std::string_view name = field.substr(0, colon);
    char conversion = '\0';
    if (const size_t mark = name.find('!'); mark != std::string_view::npos) {
      if (name.size() != mark + 2) return Fail("format: expected one letter after '!'");
      conversion = name[mark + 1];
      name = name.substr(0, mark);
    }
    DS_ASSIGN(Value value, Lookup(name));
    std::string spec;
    if (colon != std::string_view::npos) {
      DS_ASSIGN(spec, Format(field.substr(colon + 1), depth + 1));
    }
    if (conversion == 's') {
      value = Value::String(engine_.Str(value));
    } else if (conversion == 'r') {
      value = Value::String(Repr(value, engine_.budget()));
    } else if (conversion != '\0') {
      return Fail("format: unknown conversion '{}'", conversion);
    }
    return FormatValue(value, spec, engine_.budget());
  }

  // name, then .attribute and [element] parts.
  Result<Value> Lookup(std::string_view name) {
    const size_t head = std::min(name.size(), name.find_first_of(".["));
    DS_ASSIGN(Value value, Argument(name.substr(0, head)));
    name.remove_prefix(head);
    while (!name.empty()) {
      const bool attribute = name[0] == '.';
      const size_t end = attribute ? std::min(name.size(), name.find_first_of(".[", 1)) : name.find(']');
      if (end == std::string_view::npos) return Fail("format: expected ']' in a field");
      const std::string part(name.substr(1, end - 1));
      if (part.empty()) return Fail("format: empty attribute in a field");
      name.remove_prefix(attribute ? end : end + 1);
      if (!name.empty() && name[0] != '.' && name[0] != '[')
        return Fail("format: expected '.' or '[' after ']'");
      const auto index = attribute ? std::nullopt : ParseInt(part, 10);
      if (attribute) {
        DS_ASSIGN(value, engine_.Attribute(value, part));
      } else {
        DS_ASSIGN(value, engine_.Item(value, index ? Value::Int(*index) : Value::String(part)));
      }
    }
    return value;
  }

  Result<Value> Argument(std::string_view name) {
    const bool digits = !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
    if (name.empty() || digits) {
      if (numbered_ && *numbered_ != digits)
        return Fail("format: cannot mix automatic and manual field numbering");
      numbered_ = digits;
      const int64_t at = digits ? ParseInt(name, 10).value_or(INT64_MAX) : next_++;
      if (at >= static_cast<int64_t>(arguments_.positional.size()))
        return Fail("format: argument {} is missing", at);
      return arguments_.positional[static_cast<size_t>(at)];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    return Fail("format: argument '{}' is missing", name);
  }

  Engine& engine_;
  const Arguments& arguments_;
  int64_t next_ = 0;
  std::optional<bool> numbered_;
};

// One conversion of a % format.
class PercentFormatter {
 public:
  PercentFormatter(const Value& value, Budget* budget) : value_(value), budget_(budget) {}

  Result<std::string> Format(std::string_view format) {
    std::string out;
    while (!format.empty()) {
      const size_t mark = format.find('%');
      out.append(format.substr(0, mark));
      if (mark == std::string_view::npos) break;
      format.remove_prefix(mark + 1);
      DS_ASSIGN(const std::string converted, Convert(&format));
      out += converted;
    }
    const bool unused =
        value_.Is(Kind::kTuple) ? next_ < value_.items().size() : next_ == 0 && !MayBeUnused();
    if (unused) return Fail("format: not all arguments converted");
    return out;
  }

 private:
  // A mapping, and whatever else has subscripts, need not be used at all.
  bool MayBeUnused() const {
    return value_.Is(Kind::kDict) || value_.Is(Kind::kList) || value_.Is(Kind::kRange) ||
           value_.Is(Kind::kUndefined);
  }

  Result<Value> Next() {
    if (!value_.Is(Kind::kTuple)) {
      if (next_++ > 0) return Fail("format: not enough arguments");
      return value_;
    }
    if (next_ >= value_.items().size()) return Fail("format: not enough arguments");
    return value_.items()[next_++];
  }

  Result<std::string> Convert(std::string_view* format) {
    if (!budget_->Spend(1)) return budget_->status();
    std::optional<Value> keyed;
    if (!format->empty() && format->front() == '(') {
      const size_t end = format->find(')');
      if (end == std::string_view::npos) return Fail("format: incomplete key");
      if (!value_.Is(Kind::kDict)) return Fail("format: requires a mapping");
      const Value* found = value_.dict().Find(format->substr(1, end - 1));
      if (found == nullptr) return Fail("format: key '{}' is missing", format->substr(1, end - 1));
      keyed = *found;
      ++next_;
      format->remove_prefix(end + 1);
    }
    Spec spec;
    bool left = false;
    bool zero = false;
    for (; !format->empty() && std::string_view("-+ #0").find(format->front()) != std::string_view::npos;
         format->remove_prefix(1)) {
      const char flag = format->front();
      left |= flag == '-';
      zero |= flag == '0';
      spec.alternate |= flag == '#';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
    }
    DS_ASSIGN(spec.width, ReadNumber(format));
    if (!format->empty() && format->front() == '.') {
      format->remove_prefix(1);
      DS_ASSIGN(spec.precision, ReadNumber(format));
    }
    if (format->empty()) return Fail("format: incomplete format");
    const char type = format->front();
    format->remove_prefix(1);
    if (!budget_->SpendText(static_cast<uint64_t>(spec.width))) return budget_->status();
    if (type == '%') return std::string("%");
    spec.align = left ? '<' : '>';
    Value value;
    if (keyed) {
      value = std::move(*keyed);
    } else {
      DS_ASSIGN(value, Next());
    }
    if (type == 's' || type == 'r' || type == 'a') {
      const std::string text = type == 's' ? Str(value, budget_) : Repr(value, budget_);
      return Padded(FirstCharacters(text, spec.precision), spec, '>');
    }
    if (zero && !left) {
      spec.fill = "0";
      spec.align = '=';
    }
    return Number(value, type, spec);
  }

  Result<std::string> Number(const Value& value, char type, Spec spec) {
    if (value.Is(Kind::kUndefined)) return UndefinedError(value);
    if (type == 'c' && value.Is(Kind::kString) && CountCharacters(value.text()) == 1) {
      return Padded(value.text(), spec, '>');
    }
    if (!value.IsNumber()) return Fail("format: a number is required, not '{}'", TypeName(value));
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    switch (spec.type) {
      case 'd': {
        if (value.Is(Kind::kFloat) && !(std::fabs(value.real()) < 9.2e18))
          return Fail("format: a float is too large");
        const Value whole =
            Value::Int(value.Is(Kind::kFloat) ? static_cast<int64_t>(value.real()) : value.integer());
        spec.precision = -1;
        return FormatNumber(whole, spec);
      }
      case 'x':
      case 'X':
      case 'o':
        if (!value.IsInteger()) return Fail("format: an integer is required, not float");
        spec.precision = -1;
        return FormatNumber(value, spec);
      case 'f':
      case 'F':
      case 'e':
      case 'E':
      case 'g':
      case 'G': return FormatNumber(value, spec);
      default: return Fail("format: unsupported format character '{}'", type);
    }
  }

  const Value& value_;
  Budget* budget_;
  size_t next_ = 0;
};

}  // namespace

Result<Value> PercentFormat(const Value& format, const Value& value, Budget* budget) {
  DS_ASSIGN(std::string text, PercentFormatter(value, budget).Format(format.text()));
  return NewText(std::move(text), budget, format.markup());
}

Result<Value> BraceFormat(Engine& engine, const Value& format, const Arguments& arguments) {
  DS_ASSIGN(std::string text, BraceFormatter(engine, arguments).Format(format.text(), 0));
  return NewText(std::move(text), engine.budget(), format.markup());
}

}  // namespace deepshock::jinja
