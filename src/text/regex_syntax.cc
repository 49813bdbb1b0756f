// SPDX-License-Identifier: Apache-2.0
#include "text/regex_syntax.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <optional>
#include <vector>

#include "base/utf8.h"
#include "text/regex_categories.h"

namespace deepshock {
namespace {

constexpr int kMaxClassDepth = 8;
constexpr size_t kMaxPatternBytes = 64 << 10;

#if PCRE2_MAJOR > 10 || PCRE2_MINOR >= 40
constexpr char kScriptPrefix[] = "sc:";
#else
constexpr char kScriptPrefix[] = "";
#endif

// One [...], or what \w and the like stand for.
struct CharClass {
  bool negated = false;
  std::string members;                  // PCRE2 text
  std::vector<std::string> categories;  // the members, where all of them are general categories
  bool only_categories = true;
  std::vector<CharClass> nested;       // united with `members`
  std::vector<CharClass> intersected;  // further operands of &&

  bool IsFlat() const { return nested.empty() && intersected.empty(); }
  void Add(std::string_view text) {
    members += text;
    only_categories = false;
  }
};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> Run() {
    // Tried at every position of a run of blanks this is quadratic. Where an earlier start in the same run
    // failed, a later one fails too, so only starts at the run's beginning or after a match (\G) need trying.
    if (pattern_ == "\\s+$") return std::string("(?:\\G|(?<!\\s))\\s+$");
    if (pattern_.size() > kMaxPatternBytes) {
      return Fail("a regular expression of {} bytes: at most {} are taken", pattern_.size(),
                  kMaxPatternBytes);
    }
    const Status status = Translate();
    if (!status.ok()) return status.WithContext(fmt::format("regular expression \"{}\"", pattern_));
    return std::move(out_);
  }

 private:
  bool AtEnd() const { return pos_ >= pattern_.size(); }
  bool LooksAt(std::string_view text) const { return pattern_.substr(pos_, text.size()) == text; }
  char Peek(size_t ahead = 0) const { return pos_ + ahead < pattern_.size() ? pattern_[pos_ + ahead] : '\0'; }
  void BeginAtom() { atom_start_ = out_.size(); }
  void EmitAtom(std::string_view text) {
    BeginAtom();
    out_ += text;
  }

  Status Translate() {
    while (!AtEnd()) {
      const char c = Peek();
      switch (c) {
        case '\\':
          DS_RETURN_IF_ERROR(Escape());
          break;
        case '[': {
          ++pos_;
          DS_ASSIGN(const CharClass parsed, ParseClass(0));
          EmitAtom(Emit(parsed));
          break;
        }
        case '(':
          DS_RETURN_IF_ERROR(OpenGroup());
          break;
        case ')':
          if (groups_.empty()) return Fail("\")\" without \"(\" at byte {}", pos_);
          atom_start_ = groups_.back();
          groups_.pop_back();
          out_ += ')';
          ++pos_;
          break;
        case '|':
          out_ += '|';
          ++pos_;
          atom_start_.reset();
          break;
        case '*':
        case '+':
        case '?':
          SimpleQuantifier();
          break;
        case '{':
          Interval();
          break;
        case '}':
        case ']':
          EmitAtom(c == '}' ? "\\}" : "\\]");
          ++pos_;
          break;
        default: {
          const Utf8Char decoded = DecodeUtf8(pattern_.substr(pos_));
          if (!decoded.valid) return Fail("invalid UTF-8 at byte {}", pos_);
          EmitAtom(pattern_.substr(pos_, static_cast<size_t>(decoded.length)));
          pos_ += static_cast<size_t>(decoded.length);
        }
      }
    }
    if (!groups_.empty()) return Fail("\"(\" without \")\"");
    return {};
  }

  void SimpleQuantifier() {
    out_ += pattern_[pos_++];
    if (Peek() == '?' || Peek() == '+') out_ += pattern_[pos_++];
  }

  // {n} {n,} {,m} {n,m}; anything else is a literal brace.
  void Interval() {
    size_t at = pos_ + 1;
    const auto digits = [&] {
      const size_t begin = at;
      while (at < pattern_.size() && pattern_[at] >= '0' && pattern_[at] <= '9') ++at;
      return pattern_.substr(begin, at - begin);
    };
    const std::string_view low = digits();
    bool exact = true;
    std::string_view high;
    if (at < pattern_.size() && pattern_[at] == ',') {
      exact = false;
      ++at;
      high = digits();
    }
    if (at >= pattern_.size() || pattern_[at] != '}' || (low.empty() && high.empty()) || !atom_start_) {
      EmitAtom("\\{");
      ++pos_;
      return;
    }
    pos_ = at + 1;
    out_ += fmt::format("{{{}{}{}}}", low.empty() ? "0" : low, exact ? "" : ",", high);
    // In Oniguruma "+" after an interval repeats once more instead of making it possessive, and "?" after {n}
    // makes it optional instead of lazy.
    if (Peek() == '+' || (Peek() == '?' && exact)) {
      out_.insert(*atom_start_, "(?:");
      out_ += ')';
      out_ += pattern_[pos_++];
    } else if (Peek() == '?') {
      out_ += pattern_[pos_++];
    }
  }

  Status OpenGroup() {
    const bool at_group_start = out_.empty() || (!groups_.empty() && out_.size() == group_body_);
    const size_t start = out_.size();
    if (Peek(1) != '?') {
      if (Peek(1) == '*') return Fail("unsupported construct \"(*\" at byte {}", pos_);
      out_ += '(';
      ++pos_;
      return PushGroup(start);
    }
    for (const std::string_view opening : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (!LooksAt(opening)) continue;
      out_ += opening;
      pos_ += opening.size();
      return PushGroup(start);
    }
    if (LooksAt("(?#")) {
      const size_t end = pattern_.find(')', pos_);
      if (end == std::string_view::npos) return Fail("comment without \")\" at byte {}", pos_);
      pos_ = end + 1;
      return {};
    }
    if (LooksAt("(?<")) {
      const size_t end = pattern_.find('>', pos_);
      if (end == std::string_view::npos) return Fail("group name without \">\" at byte {}", pos_);
      out_ += pattern_.substr(pos_, end + 1 - pos_);
      pos_ = end + 1;
      return PushGroup(start);
    }
    return Options(start, at_group_start);
  }

  Status PushGroup(size_t start) {
    groups_.push_back(start);
    group_body_ = out_.size();
    atom_start_.reset();
    return {};
  }

  // (?imx-imx) and (?imx-imx:...). Oniguruma's m is what others call s: the dot matches a newline.
  Status Options(size_t start, bool at_group_start) {
    size_t at = pos_ + 2;
    std::string flags;
    for (; at < pattern_.size() && pattern_[at] != ')' && pattern_[at] != ':'; ++at) {
      const char flag = pattern_[at];
      if (flag == 'm') {
        flags += 's';
      } else if (flag == 'i' || flag == '-') {
        flags += flag;
      } else {
        return Fail("unsupported construct \"{}\" at byte {}", pattern_.substr(pos_, at + 1 - pos_), pos_);
      }
    }
    if (at >= pattern_.size()) return Fail("\"(\" without \")\"");
    const bool scoped = pattern_[at] == ':';
    // In the middle of a branch Oniguruma lets the option swallow the later branches too.
    if (!scoped && !at_group_start)
      return Fail("unsupported: option in the middle of a group at byte {}", pos_);
    out_ += "(?" + flags + (scoped ? ":" : ")");
    pos_ = at + 1;
    if (scoped) return PushGroup(start);
    group_body_ = out_.size();
    return {};
  }

  Status Escape() {
    const char c = Peek(1);
    switch (c) {
      case 'd':
      case 'D':
      case 's':
      case 'S':
      case 'w':
      case 'W':
      case 'h':
      case 'H':
      case 'p':
      case 'P': {
        if (c == 'w' || c == 'W') {
          EmitAtom(std::string(c == 'w' ? "[" : "[^") + kWord + kLatin1Word + "]");
          pos_ += 2;
          return {};
        }
        CharClass single;
        DS_RETURN_IF_ERROR(ClassEscape(&single));
        EmitAtom(Emit(single));
        return {};
      }
      case 'b':
      case 'B': {
        const std::string word = std::string("[") + kWord + kLatin1Word + "]";
        const bool inside = c == 'B';
        EmitAtom("(?:(?<=" + word + (inside ? ")(?=" : ")(?!") + word + ")|(?<!" + word +
                 (inside ? ")(?!" : ")(?=") + word + "))");
        pos_ += 2;
        return {};
      }
      case 'A':
      case 'Z':
      case 'z':
      case 'G':
      case 'K':
        EmitAtom(pattern_.substr(pos_, 2));
        pos_ += 2;
        return {};
      case 'R':  // Oniguruma: \r\n or one of these
        EmitAtom("(?>\\r\\n|[\\n-\\r\\x{85}\\x{2028}\\x{2029}])");
        pos_ += 2;
        return {};
      default:
        break;
    }
    if (c >= '1' && c <= '9') {
      EmitAtom(fmt::format("\\g{{{}}}", c));
      pos_ += 2;
      return Peek() >= '0' && Peek() <= '9' ? Fail("unsupported escape \"\\{}{}\"", c, Peek()) : Status();
    }
    DS_ASSIGN(const uint32_t code_point, EscapedCodePoint());
    EmitAtom(fmt::format("\\x{{{:x}}}", code_point));
    return {};
  }

  // Escapes that stand for one character; pos_ is at the backslash.
  Result<uint32_t> EscapedCodePoint() {
    const size_t start = pos_;
    if (pos_ + 1 >= pattern_.size()) return Fail("ends in a backslash");
    const char c = pattern_[pos_ + 1];
    pos_ += 2;
    switch (c) {
      case 't':
        return uint32_t{0x09};
      case 'n':
        return uint32_t{0x0a};
      case 'v':
        return uint32_t{0x0b};
      case 'f':
        return uint32_t{0x0c};
      case 'r':
        return uint32_t{0x0d};
      case 'a':
        return uint32_t{0x07};
      case 'e':
        return uint32_t{0x1b};
      case 'u':
        return HexDigits(4, 4, start);
      case 'x':
        if (Peek() == '{') {
          ++pos_;
          DS_ASSIGN(const uint32_t value, HexDigits(1, 6, start));
          if (Peek() != '}') return Fail("unsupported escape at byte {}", start);
          ++pos_;
          return value;
        }
        return HexDigits(1, 2, start);
      default:
        break;
    }
    if (static_cast<unsigned char>(c) < 0x80) {
      if (std::isalnum(static_cast<unsigned char>(c))) return Fail("unsupported escape \"\\{}\"", c);
      return static_cast<uint32_t>(c);
    }
    --pos_;
    return PlainCodePoint();
  }

  Result<uint32_t> HexDigits(int least, int most, size_t start) {
    uint32_t value = 0;
    int count = 0;
    for (; count < most && std::isxdigit(static_cast<unsigned char>(Peek())); ++count, ++pos_) {
      const char c = Peek();
      value = value * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (count < least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
      return Fail("expected the number of a character at byte {}, found \"{}\"", start,
                  pattern_.substr(start, pos_ - start));
    }
    return value;
  }

  Result<uint32_t> PlainCodePoint() {
    const Utf8Char decoded = DecodeUtf8(pattern_.substr(pos_));
    if (!decoded.valid) return Fail("invalid UTF-8 at byte {}", pos_);
    pos_ += static_cast<size_t>(decoded.length);
    return decoded.code_point;
  }

  // \d \s \w \h \p{...} and their negations; pos_ is at the backslash.
  Status ClassEscape(CharClass* into) {
    const char c = Peek(1);
    const bool negated = c == 'D' || c == 'S' || c == 'W' || c == 'H';
    if (c == 'p' || c == 'P') return Property(into);
    pos_ += 2;
    switch (c) {
      case 'd':
        return AddCategory("Nd", into);
      case 'D':
        into->Add("\\P{Nd}");
        return {};
      case 's':
      case 'S':
        into->Add(negated ? "\\S" : "\\s");
        return {};
      default:
        break;
    }
    const char* members = c == 'w' || c == 'W' ? kWord : kHexDigit;
    AddMembers(members, negated, into);
    return {};
  }

  static void AddMembers(const char* members, bool negated, CharClass* into) {
    if (!negated) return into->Add(members);
    CharClass inner;
    inner.negated = true;
    inner.Add(members);
    into->nested.push_back(std::move(inner));
  }

  static Status AddCategory(const char* name, CharClass* into) {
    into->members += fmt::format("\\p{{{}}}", name);
    into->categories.push_back(name);
    return {};
  }

  Status Property(CharClass* into) {
    const size_t start = pos_;
    bool negated = Peek(1) == 'P';
    const size_t end = pattern_.find('}', pos_);
    if (Peek(2) != '{' || end == std::string_view::npos)
      return Fail("expected \"{{name}}\" after \\p at byte {}", pos_);
    std::string_view given = pattern_.substr(pos_ + 3, end - pos_ - 3);
    pos_ = end + 1;
    if (!given.empty() && given.front() == '^') {
      negated = !negated;
      given.remove_prefix(1);
    }
    std::string name;  // as Oniguruma compares names: case, blanks, "_" and "-" do not count
    for (const char c : given) {
      if (c == ' ' || c == '_' || c == '-') continue;
      if (!std::isalpha(static_cast<unsigned char>(c))) return Fail("unknown property \"{}\"", given);
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    for (const Category& category : kCategories) {
      std::string short_name = category.name;
      std::transform(short_name.begin(), short_name.end(), short_name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (name != short_name && name != category.long_name) continue;
      if (!negated) return AddCategory(category.name, into);
      into->Add(fmt::format("\\P{{{}}}", category.name));
      return {};
    }
    if (AddNamedSet(name, negated, into)) return {};
    if (name.size() < 3) return Fail("unknown property \"{}\" at byte {}", given, start);
    // A script. PCRE2 spells it with a capital, and since 10.40 means script extensions unless told "sc:".
    std::string script(given);
    script[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(script[0])));
    into->Add(fmt::format("\\{}{{{}{}}}", negated ? 'P' : 'p', kScriptPrefix, script));
    return {};
  }

  // The names that POSIX brackets and \p{...} share.
  static bool AddNamedSet(std::string_view name, bool negated, CharClass* into) {
    if (name == "space") {
      into->Add(negated ? "\\S" : "\\s");
    } else if (name == "digit") {
      into->Add(negated ? "\\P{Nd}" : "\\p{Nd}");
    } else if (name == "word") {
      AddMembers(kWord, negated, into);
    } else if (name == "punct") {
      AddMembers("\\p{P}\\p{S}", negated, into);
    } else if (name == "xdigit") {
      AddMembers(kHexDigit, negated, into);
    } else {
      return false;
    }
    return true;
  }

  // After the opening bracket, up to and including the closing one.
  Result<CharClass> ParseClass(int depth) {
    if (depth > kMaxClassDepth) return Fail("character classes nested deeper than {}", kMaxClassDepth);
    CharClass result;
    const bool negated = Peek() == '^';
    if (negated) ++pos_;
    CharClass operand;
    std::vector<CharClass> operands;
    for (bool first = true;; first = false) {
      if (AtEnd()) return Fail("\"[\" without \"]\"");
      if (Peek() == ']' && !first) {
        ++pos_;
        break;
      }
      if (LooksAt("&&")) {
        pos_ += 2;
        operands.push_back(std::move(operand));
        operand = CharClass();
        continue;
      }
      DS_RETURN_IF_ERROR(ClassItem(depth, &operand));
    }
    operands.push_back(std::move(operand));
    for (const CharClass& one : operands) {
      if (one.members.empty() && one.nested.empty())
        return Fail("empty character class before byte {}", pos_);
    }
    result = std::move(operands[0]);
    if (operands.size() > 1) {
      result.intersected.assign(std::make_move_iterator(operands.begin() + 1),
                                std::make_move_iterator(operands.end()));
    }
    result.negated = negated;
    return result;
  }

  Status ClassItem(int depth, CharClass* into) {
    if (LooksAt("[:")) return PosixBracket(into);
    if (Peek() == '[') {
      ++pos_;
      DS_ASSIGN(CharClass inner, ParseClass(depth + 1));
      if (inner.IsFlat() && !inner.negated) {
        into->Add(inner.members);
      } else {
        into->nested.push_back(std::move(inner));
      }
      return {};
    }
    const std::string_view sets = "dDsSwWhHpP";
    if (Peek() == '\\' && sets.find(Peek(1)) != std::string_view::npos && pos_ + 1 < pattern_.size()) {
      return ClassEscape(into);
    }
    DS_ASSIGN(const uint32_t low, ClassCodePoint());
    const bool range = Peek() == '-' && Peek(1) != ']' && Peek(1) != '[' && pos_ + 1 < pattern_.size() &&
                       !(Peek(1) == '\\' && sets.find(Peek(2)) != std::string_view::npos);
    if (!range) {
      into->Add(fmt::format("\\x{{{:x}}}", low));
      return {};
    }
    ++pos_;
    DS_ASSIGN(const uint32_t high, ClassCodePoint());
    if (high < low) return Fail("range U+{:04X} to U+{:04X} is backwards", low, high);
    into->Add(fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", low, high));
    return {};
  }

  Result<uint32_t> ClassCodePoint() {
    if (Peek() != '\\') return PlainCodePoint();
    if (Peek(1) == 'b') {  // a backspace inside a class
      pos_ += 2;
      return uint32_t{0x08};
    }
    return EscapedCodePoint();
  }

  Status PosixBracket(CharClass* into) {
    const size_t end = pattern_.find(":]", pos_);
    if (end == std::string_view::npos) return Fail("\"[:\" without \":]\" at byte {}", pos_);
    std::string_view name = pattern_.substr(pos_ + 2, end - pos_ - 2);
    const bool negated = !name.empty() && name.front() == '^';
    if (negated) name.remove_prefix(1);
    if (!AddNamedSet(name, negated, into)) return Fail("unsupported character class \"[:{}:]\"", name);
    pos_ = end + 2;
    return {};
  }

  // One PCRE2 atom.
  static std::string Emit(const CharClass& set) {
    if (set.IsFlat()) return std::string(set.negated ? "[^" : "[") + set.members + "]";
    std::string body = set.intersected.empty() ? EmitUnion(set) : EmitIntersection(set);
    return set.negated ? "(?:(?!" + body + ")(?s:.))" : body;
  }

  static std::string EmitUnion(const CharClass& set) {
    std::string body = "(?:";
    if (!set.members.empty()) body += "[" + set.members + "]|";
    for (size_t i = 0; i < set.nested.size(); ++i) body += (i > 0 ? "|" : "") + Emit(set.nested[i]);
    return body + ")";
  }

  static std::string EmitIntersection(const CharClass& set) {
    CharClass left = set;
    left.negated = false;
    left.intersected.clear();
    // [categories&&[^others]] is one negated class: the remaining categories and the others.
    if (set.intersected.size() == 1 && left.IsFlat() && left.only_categories) {
      const CharClass& right = set.intersected[0];
      const bool wrapped = right.IsFlat() ? false
                                          : right.members.empty() && right.nested.size() == 1 &&
                                                right.intersected.empty() && right.nested[0].IsFlat() &&
                                                right.nested[0].negated;
      if (wrapped) return "[^" + OtherCategories(left.categories) + right.nested[0].members + "]";
    }
    std::string body = "(?:";
    for (const CharClass& operand : set.intersected) body += "(?=" + Emit(operand) + ")";
    return body + Emit(left) + ")";
  }

  static std::string OtherCategories(const std::vector<std::string>& categories) {
    std::string members;
    for (const Category& category : kCategories) {
      const std::string name = category.name;
      if (name.size() == 1) continue;
      const bool listed = std::any_of(categories.begin(), categories.end(), [&](const std::string& given) {
        return given == name || given == name.substr(0, 1);
      });
      if (!listed) members += "\\p{" + name + "}";
    }
    return members;
  }

  std::string_view pattern_;
  size_t pos_ = 0;
  std::string out_;
  std::optional<size_t> atom_start_;  // in out_: what a quantifier would repeat
  std::vector<size_t> groups_;        // starts of the open groups in out_
  size_t group_body_ = 0;             // in out_: where the innermost group's text began
};

}  // namespace

Result<std::string> OnigurumaToPcre2(std::string_view pattern) { return Translator(pattern).Run(); }

std::string EscapeRegex(std::string_view literal) {
  std::string out;
  for (const char c : literal) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && !std::isalnum(byte)) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace deepshock
