// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/utf8.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

constexpr auto npos = std::string_view::npos;

// Longest first, so that "**" is not two tokens.
constexpr std::array<std::string_view, 25> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                         "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                         ">",  "<",  "=",  ".",  ":",  "|",  ","};

// "\r\n" and "\r" become "\n"; one newline at the very end does not count.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
    } else {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)), text_(source_) {}

  Result<std::vector<Token>> Run() {
    while (pos_ < text_.size()) {
      const size_t tag = FindTag();
      if (tag == npos) {
        AddData(text_.substr(pos_));
        pos_ = text_.size();
        break;
      }
      Status status;
      if (const auto body = RawBody(tag)) {
        status = LexRaw(tag, *body);
      } else if (text_[tag + 1] == '#') {
        status = LexComment(tag);
      } else {
        status = LexTag(tag);
      }
      DS_RETURN_IF_ERROR(status);
    }
    tokens_.push_back({TokenKind::kEnd, LineAt(text_.size()), ""});
    return std::move(tokens_);
  }

 private:
  // Counts lines forward from the last question; questions come in order.
  int LineAt(size_t pos) {
    for (; counted_ < pos; ++counted_) line_ += text_[counted_] == '\n' ? 1 : 0;
    return line_;
  }

  template <typename... Args>
  Status Error(size_t pos, fmt::format_string<Args...> format, Args&&... args) {
    const int line = LineAt(pos);
    return Fail("line {}: {}", line, fmt::format(format, std::forward<Args>(args)...));
  }

  bool At(size_t pos, std::string_view what) const {
    return text_.substr(std::min(pos, text_.size()), what.size()) == what;
  }

  size_t SkipSpace(size_t pos) const {
    while (pos < text_.size()) {
      const Utf8Char c = DecodeUtf8(text_.substr(pos));
      if (!IsSpace(c.code_point)) break;
      pos += static_cast<size_t>(c.length);
    }
    return pos;
  }

  size_t FindTag() const {
    for (size_t at = text_.find('{', pos_); at != npos; at = text_.find('{', at + 1)) {
      if (at + 1 < text_.size() && (text_[at + 1] == '{' || text_[at + 1] == '%' || text_[at + 1] == '#'))
        return at;
    }
    return npos;
  }

  char SignAt(size_t pos) const { return At(pos, "-") ? '-' : At(pos, "+") ? '+' : '\0'; }

  void AddData(std::string_view data) {
    const int line = LineAt(pos_);
    if (!data.empty()) tokens_.push_back({TokenKind::kData, line, std::string(data)});
  }

  // The data between pos_ and the tag at `end`, less what the tag's sign strips.
  void AddDataBefore(size_t end, char sign, bool strip_indent) {
    std::string_view data = text_.substr(pos_, end - pos_);
    if (sign == '-') {
      data = Strip(data, std::nullopt, Side::kRight);
    } else if (sign != '+' && strip_indent) {
      const size_t newline = data.rfind('\n');
      const bool at_line_start = newline != npos || pos_ == 0 || line_starting_;
      const size_t begin = newline == npos ? 0 : newline + 1;
      if (at_line_start && Strip(data.substr(begin), std::nullopt, Side::kBoth).empty())
        data = data.substr(0, begin);
    }
    AddData(data);
  }

  // The end of a tag at `pos` with this closing ("%}"): "-%}" takes the white space after it, "%}" one
  // newline where `trims`, "+%}" nothing where `trims`. npos when no end is there.
  size_t TagEnd(size_t pos, std::string_view closing, bool trims) const {
    const char sign = SignAt(pos);
    if (sign == '-' && At(pos + 1, closing)) return SkipSpace(pos + 1 + closing.size());
    if (sign == '+' && trims && At(pos + 1, closing)) return pos + 1 + closing.size();
    if (!At(pos, closing)) return npos;
    const size_t end = pos + closing.size();
    return trims && At(end, "\n") ? end + 1 : end;
  }

  void MoveTo(size_t pos) {
    pos_ = pos;
    line_starting_ = pos > 0 && text_[pos - 1] == '\n';
  }

  // For "{% raw %}" at `tag`: where its content begins. A raw tag does not trim the newline after it.
  std::optional<size_t> RawBody(size_t tag) const {
    if (text_[tag + 1] != '%') return std::nullopt;
    size_t pos = SkipSpace(tag + 2 + (SignAt(tag + 2) != '\0' ? 1 : 0));
    if (!At(pos, "raw")) return std::nullopt;
    pos = SkipSpace(pos + 3);
    const size_t end = SignAt(pos) == '+' ? npos : TagEnd(pos, "%}", false);
    return end == npos ? std::nullopt : std::optional(end);
  }

  Status LexRaw(size_t tag, size_t body) {
    AddDataBefore(tag, SignAt(tag + 2), true);
    MoveTo(body);
    for (size_t at = text_.find("{%", pos_); at != npos; at = text_.find("{%", at + 1)) {
      const char sign = SignAt(at + 2);
      size_t pos = SkipSpace(at + 2 + (sign != '\0' ? 1 : 0));
      if (!At(pos, "endraw")) continue;
      pos = SkipSpace(pos + 6);
      const size_t end = TagEnd(pos, "%}", true);
      if (end == npos) continue;
      AddDataBefore(at, sign, true);
      MoveTo(end);
      return Status();
    }
    return Error(tag, "expected an end of the raw block, found the end of the template");
  }

  Status LexComment(size_t tag) {
    const char sign = SignAt(tag + 2);
    AddDataBefore(tag, sign, true);
    for (size_t at = tag + 2 + (sign != '\0' ? 1 : 0); at < text_.size(); ++at) {
      const size_t end = TagEnd(at, "#}", true);
      if (end == npos) continue;
      MoveTo(end);
      return Status();
    }
    return Error(tag, "expected an end of the comment, found the end of the template");
  }

  Status LexTag(size_t tag) {
    const bool block = text_[tag + 1] == '%';
    const char sign = SignAt(tag + 2);
    AddDataBefore(tag, sign, block);
    tokens_.push_back({block ? TokenKind::kBlockBegin : TokenKind::kPrintBegin, LineAt(tag), ""});
    pos_ = tag + 2 + (sign != '\0' ? 1 : 0);
    std::string open;  // brackets not yet closed: an end of the tag inside them is none
    while (true) {
      if (open.empty()) {
        const size_t end = TagEnd(pos_, block ? "%}" : "}}", block);
        if (end != npos) {
          tokens_.push_back({block ? TokenKind::kBlockEnd : TokenKind::kPrintEnd, LineAt(pos_), ""});
          MoveTo(end);
          return Status();
        }
      }
      pos_ = SkipSpace(pos_);
      if (pos_ >= text_.size())
        return Error(tag, "expected an end of the tag, found the end of the template");
      if (open.empty() && TagEnd(pos_, block ? "%}" : "}}", block) != npos) continue;
      DS_RETURN_IF_ERROR(LexToken(&open));
    }
  }

  Status LexToken(std::string* open) {
    const char c = text_[pos_];
    if (IsDigit(c)) return LexNumber();
    if (c == '"' || c == '\'') return LexString();
    if (IsWordCharacter(DecodeUtf8(text_.substr(pos_)).code_point)) return LexName();
    for (const std::string_view op : kOperators) {
      if (!At(pos_, op)) continue;
      DS_RETURN_IF_ERROR(Balance(op, open));
      tokens_.push_back({TokenKind::kOperator, LineAt(pos_), std::string(op)});
      pos_ += op.size();
      return Status();
    }
    const auto length = static_cast<size_t>(DecodeUtf8(text_.substr(pos_)).length);
    return Error(pos_, "unexpected character '{}'", text_.substr(pos_, length));
  }

  Status Balance(std::string_view op, std::string* open) {
    if (op == "(" || op == "[" || op == "{") {
      open->push_back(op == "(" ? ')' : op == "[" ? ']' : '}');
    } else if (op == ")" || op == "]" || op == "}") {
      if (open->empty()) return Error(pos_, "unexpected '{}'", op);
      if (open->back() != op[0]) return Error(pos_, "expected '{}', found '{}'", open->back(), op);
      open->pop_back();
    }
    return Status();
  }

  Status LexName() {
    const size_t begin = pos_;
    while (pos_ < text_.size()) {
      const Utf8Char c = DecodeUtf8(text_.substr(pos_));
      if (!IsWordCharacter(c.code_point)) break;
      pos_ += static_cast<size_t>(c.length);
    }
    tokens_.push_back({TokenKind::kName, LineAt(begin), std::string(text_.substr(begin, pos_ - begin))});
    return Status();
  }

  // Digits with single underscores between them, of a base up to 16.
  size_t SkipDigits(size_t pos, std::string_view digits) const {
    const auto digit_at = [&](size_t at) {
      return at < text_.size() && digits.find(static_cast<char>(text_[at] | 0x20)) != npos;
    };
    const auto plain_at = [&](size_t at) {
      return digit_at(at) && (std::isalnum(static_cast<uint8_t>(text_[at])) != 0);
    };
    while (plain_at(pos) || (At(pos, "_") && plain_at(pos + 1))) ++pos;
    return pos;
  }

  Status LexNumber() {
    constexpr std::string_view kDecimal = "0123456789";
    const size_t begin = pos_;
    const int line = LineAt(begin);
    size_t end = SkipDigits(begin, kDecimal);
    bool is_float = false;
    // After a point, "a.1.5" is two subscripts.
    if (begin == 0 || text_[begin - 1] != '.') {
      if (At(end, ".") && end + 1 < text_.size() && IsDigit(text_[end + 1])) {
        end = SkipDigits(end + 1, kDecimal);
        is_float = true;
      }
      if (At(end, "e") || At(end, "E")) {
        const size_t digits = end + 1 + (SignAt(end + 1) != '\0' ? 1 : 0);
        if (digits < text_.size() && IsDigit(text_[digits])) {
          end = SkipDigits(digits, kDecimal);
          is_float = true;
        }
      }
    }
    if (!is_float && text_[begin] == '0') {
      const char letter = begin + 1 < text_.size() ? static_cast<char>(text_[begin + 1] | 0x20) : '\0';
      const std::string_view digits = letter == 'x'   ? "0123456789abcdef"
                                      : letter == 'o' ? "01234567"
                                      : letter == 'b' ? "01"
                                                      : "";
      const size_t prefixed = digits.empty() ? begin + 2 : SkipDigits(begin + 2, digits);
      end = prefixed > begin + 2 ? prefixed : SkipDigits(begin, "0");
    }
    std::string number;
    std::copy_if(text_.begin() + static_cast<std::ptrdiff_t>(begin),
                 text_.begin() + static_cast<std::ptrdiff_t>(end), std::back_inserter(number),
                 [](char c) { return c != '_'; });
    tokens_.push_back({is_float ? TokenKind::kFloat : TokenKind::kInteger, line, std::move(number)});
    pos_ = end;
    return Status();
  }

  Status LexString() {
    const size_t begin = pos_;
    const char quote = text_[begin];
    size_t end = begin + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size())
      return Error(begin, "expected a closing {}, found the end of the template", quote);
    const int line = LineAt(begin);
    DS_ASSIGN(std::string value, Unescape(text_.substr(begin + 1, end - begin - 1), begin));
    tokens_.push_back({TokenKind::kString, line, std::move(value)});
    pos_ = end + 1;
    return Status();
  }

  // Python's escapes; what is no escape keeps its backslash.
  Result<std::string> Unescape(std::string_view raw, size_t where) {
    std::string out;
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] != '\\' || i + 1 == raw.size()) {
        out.push_back(raw[i]);
        continue;
      }
      const char c = raw[++i];
      constexpr std::string_view kSimple = "\\'\"abfnrtv";
      constexpr std::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
      const size_t simple = kSimple.find(c);
      if (simple != npos) {
        out.push_back(kMeaning[simple]);
      } else if (c >= '0' && c <= '7') {
        uint32_t code = 0;
        const size_t stop = std::min(raw.size(), i + 3);
        for (; i < stop && raw[i] >= '0' && raw[i] <= '7'; ++i)
          code = code * 8 + static_cast<uint32_t>(raw[i] - '0');
        --i;
        AppendUtf8(code, &out);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        const auto code = ParseHex(raw.substr(i + 1, digits), digits);
        if (!code) return Error(where, "expected {} hexadecimal digits of a character after \\{}", digits, c);
        AppendUtf8(*code, &out);
        i += digits;
      } else if (c == 'N') {
        return Error(where, "\\N escapes are not supported");
      } else if (static_cast<uint8_t>(c) >= 0x80) {
        // Python spells the character as an escape before it looks for escapes, so this backslash escapes
        // that one.
        const Utf8Char u = DecodeUtf8(raw.substr(i));
        out += u.code_point < 0x100     ? fmt::format("\\x{:02x}", u.code_point)
               : u.code_point < 0x10000 ? fmt::format("\\u{:04x}", u.code_point)
                                        : fmt::format("\\U{:08x}", u.code_point);
        i += static_cast<size_t>(u.length) - 1;
      } else if (c != '\n') {
        out.push_back('\\');
        out.push_back(c);
      }
    }
    return out;
  }

  // Half of a surrogate pair is refused too: it has no UTF-8.
  static std::optional<uint32_t> ParseHex(std::string_view digits, size_t count) {
    if (digits.size() < count) return std::nullopt;
    uint64_t code = 0;
    for (const char c : digits) {
      if (!std::isxdigit(static_cast<uint8_t>(c))) return std::nullopt;
      code = code * 16 + static_cast<uint64_t>(IsDigit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return std::nullopt;
    return static_cast<uint32_t>(code);
  }

  const std::string source_;
  const std::string_view text_;
  size_t pos_ = 0;
  bool line_starting_ = true;  // pos_ follows a newline that a tag has swallowed, or is the start
  int line_ = 1;
  size_t counted_ = 0;  // line_ is the line of this position
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> Tokenize(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return Fail("expected a template of at most {} bytes, found {}", kMaxSourceBytes, source.size());
  }
  const size_t invalid = FindInvalidUtf8(source);
  if (invalid != npos) {
    const auto line =
        std::count(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(invalid), '\n') + 1;
    return Fail("line {}: expected UTF-8, found other bytes", line);
  }
  return Lexer(NormalizeNewlines(source)).Run();
}

}  // namespace deepshock::jinja
