// SPDX-License-Identifier: Apache-2.0
#include "grammar/pattern.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace deepshock {
namespace {

const CodePointSet kDigits = {{'0', '9'}};
const CodePointSet kWordCharacters = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodePointSet kSpaces = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                              {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                              {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CodePointSet kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

struct Node {
  enum class Kind { kSet, kSequence, kChoice, kRepeat, kBegin, kEnd };
  Kind kind = Kind::kSequence;
  CodePointSet set;
  std::vector<Node> children;
  int64_t least = 0, most = 0;  // kRepeat; most -1: any number
};

class Parser {
 public:
  explicit Parser(std::string_view pattern) : pattern_(pattern) {}

  Result<Node> Parse() {
    if (FindInvalidUtf8(pattern_) != std::string_view::npos) return Fail("expected a pattern in UTF-8");
    DS_ASSIGN(Node node, Choice(0));
    if (at_ < pattern_.size()) return Unexpected();
    return node;
  }

 private:
  bool AtEnd() const { return at_ >= pattern_.size(); }
  char Peek() const { return AtEnd() ? '\0' : pattern_[at_]; }
  bool Take(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  Status Unexpected() const {
    if (AtEnd()) return Fail("pattern \"{}\" ends too early", pattern_);
    return Fail("pattern \"{}\": unexpected '{}' at offset {}", pattern_, pattern_.substr(at_, 1), at_);
  }
  Status Unsupported(std::string_view what) const {
    return Fail("pattern \"{}\": {} at offset {} is not supported", pattern_, what, at_);
  }
  uint32_t Character() {
    const Utf8Char c = DecodeUtf8(pattern_.substr(at_));
    at_ += static_cast<size_t>(c.length);
    return c.code_point;
  }

  Result<Node> Choice(int depth) {
    if (depth > kMaxPatternDepth) return Fail("pattern: expected at most {} nested groups", kMaxPatternDepth);
    Node choice{Node::Kind::kChoice, {}, {}};
    do {
      DS_ASSIGN(Node sequence, Sequence(depth));
      choice.children.push_back(std::move(sequence));
    } while (Take("|"));
    if (choice.children.size() == 1) return Node(std::move(choice.children[0]));
    return choice;
  }

  Result<Node> Sequence(int depth) {
    Node sequence;
    while (!AtEnd() && Peek() != '|' && Peek() != ')') {
      DS_ASSIGN(Node atom, Atom(depth));
      DS_ASSIGN(Node repeated, Repeated(std::move(atom)));
      sequence.children.push_back(std::move(repeated));
    }
    return sequence;
  }

  Result<Node> Repeated(Node atom) {
    Node repeat{Node::Kind::kRepeat, {}, {}, 0, -1};
    const size_t begin = at_;
    if (Take("*")) {
    } else if (Take("+")) {
      repeat.least = 1;
    } else if (Take("?")) {
      repeat.most = 1;
    } else if (Take("{")) {
      const std::optional<int64_t> least = Number();
      repeat.most = least.value_or(0);
      if (Take(",")) repeat.most = Number().value_or(-1);
      if (!least || !Take("}"))
        return Fail("pattern \"{}\": expected {{m}}, {{m,}} or {{m,n}} at offset {}", pattern_, begin);
      repeat.least = *least;
      if (repeat.most >= 0 && repeat.most < repeat.least) {
        return Fail("pattern \"{}\": a repetition of at least {} and at most {}", pattern_, repeat.least,
                    repeat.most);
      }
      if (std::max(repeat.least, repeat.most) > kMaxRepeats) {
        return Fail("pattern \"{}\": expected at most {} repetitions, found {}", pattern_, kMaxRepeats,
                    std::max(repeat.least, repeat.most));
      }
    } else {
      return atom;
    }
    if (atom.kind == Node::Kind::kBegin || atom.kind == Node::Kind::kEnd)
      return Unsupported("a repeated anchor");
    Take("?");  // lazy: matches the same texts
    if (Peek() == '*' || Peek() == '+' || Peek() == '?' || Peek() == '{') return Unexpected();
    repeat.children.push_back(std::move(atom));
    return repeat;
  }

  std::optional<int64_t> Number() {
    const size_t begin = at_;
    int64_t value = 0;
    for (; Peek() >= '0' && Peek() <= '9'; ++at_)
      value = std::min<int64_t>(value * 10 + (Peek() - '0'), kMaxRepeats + 1);
    return at_ > begin ? std::optional<int64_t>(value) : std::nullopt;
  }

  Result<Node> Atom(int depth) {
    if (Take("^")) return Node{Node::Kind::kBegin, {}, {}};
    if (Take("$")) return Node{Node::Kind::kEnd, {}, {}};
    if (Take(".")) return Set(kLineEnds.Complement());
    if (Peek() == '(') return Group(depth);
    if (Take("[")) return Class();
    if (Peek() == '*' || Peek() == '+' || Peek() == '?' || Peek() == '{') return Unexpected();
    if (Take("\\")) {
      DS_ASSIGN(CodePointSet set, Escape(false));
      return Set(std::move(set));
    }
    const uint32_t c = Character();
    return Set({{c, c}});
  }

  static Node Set(CodePointSet set) { return Node{Node::Kind::kSet, std::move(set), {}}; }

  Result<Node> Group(int depth) {
    if (pattern_.substr(at_, 3) == "(?=" || pattern_.substr(at_, 3) == "(?!" ||
        pattern_.substr(at_, 4) == "(?<=" || pattern_.substr(at_, 4) == "(?<!") {
      return Unsupported("look-around");
    }
    if (Take("(?:")) {
    } else if (Take("(?<")) {
      while (!AtEnd() && Peek() != '>') ++at_;
      if (!Take(">")) return Unexpected();
    } else if (pattern_.substr(at_, 2) == "(?") {
      return Unsupported("\"(?\"");
    } else {
      Take("(");
    }
    DS_ASSIGN(Node node, Choice(depth + 1));
    if (!Take(")")) return Unexpected();
    Node group;
    group.children.push_back(std::move(node));
    return group;
  }

  // After the backslash.
  Result<CodePointSet> Escape(bool in_class) {
    if (AtEnd()) return Unexpected();
    const char c = Peek();
    const auto one = [](uint32_t x) { return CodePointSet{{x, x}}; };
    if (c >= '1' && c <= '9') return Unsupported("a back reference");
    if (c == 'p' || c == 'P') return Unsupported("\\p{...}");
    if (c == 'B' || c == 'k' || (c == 'b' && !in_class)) return Unsupported(fmt::format("\\{}", c));
    const uint32_t character = Character();
    switch (character) {
      case 'd':
        return kDigits;
      case 'D':
        return kDigits.Complement();
      case 'w':
        return kWordCharacters;
      case 'W':
        return kWordCharacters.Complement();
      case 's':
        return kSpaces;
      case 'S':
        return kSpaces.Complement();
      case 't':
        return one('\t');
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case 'b':
        return one('\b');
      case '0':
        return one(0);
      case 'x':
        return Hex(2);
      case 'u':
        return Hex(4);
      case 'c': {
        const auto letter = static_cast<uint32_t>(Peek() | 0x20);
        if (letter < 'a' || letter > 'z') return Unexpected();
        ++at_;
        return one(letter - 'a' + 1);
      }
    }
    if (character < 0x80 && ((character | 0x20) >= 'a' && (character | 0x20) <= 'z')) {
      return Fail("pattern \"{}\": the escape \\{} is not supported", pattern_, static_cast<char>(character));
    }
    return one(character);
  }

  Result<CodePointSet> Hex(int num_digits) {
    const bool braces = num_digits == 4 && Take("{");
    uint32_t value = 0;
    int count = 0;
    for (; !AtEnd() && count < (braces ? 6 : num_digits); ++count, ++at_) {
      const char c = Peek(), lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<uint32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        value = value * 16 + static_cast<uint32_t>(lower - 'a' + 10);
      } else {
        break;
      }
    }
    if (count == 0 || (braces ? !Take("}") : count != num_digits)) return Unexpected();
    // The two halves of a character above U+FFFF.
    if (!braces && value >= 0xD800 && value < 0xDC00 && Take("\\u")) {
      DS_ASSIGN(const CodePointSet low, Hex(4));
      const uint32_t second = last_hex_;
      if (second < 0xDC00 || second > 0xDFFF) return Unsupported("half a character");
      value = 0x10000 + ((value - 0xD800) << 10) + (second - 0xDC00);
    }
    last_hex_ = value;
    if (value > CodePointSet::kMax) return Unsupported("a character above U+10FFFF");
    return CodePointSet{{value, value}};
  }

  // One member of a class; its first character, or none where it is several.
  Result<std::pair<CodePointSet, std::optional<uint32_t>>> ClassMember() {
    using Member = std::pair<CodePointSet, std::optional<uint32_t>>;
    if (AtEnd()) return Unexpected();
    if (!Take("\\")) {
      const uint32_t c = Character();
      return Member({{c, c}}, c);
    }
    if (Take("-")) return Member({{'-', '-'}}, '-');
    DS_ASSIGN(CodePointSet set, Escape(true));
    const auto ranges = set.ranges();
    if (ranges.size() == 1 && ranges[0].low == ranges[0].high) return Member(set, ranges[0].low);
    return Member(set, std::nullopt);
  }

  Result<Node> Class() {
    const bool negated = Take("^");
    CodePointSet set;
    while (!Take("]")) {
      DS_ASSIGN(auto member, ClassMember());
      auto& [first, low] = member;
      if (Peek() != '-' || pattern_.substr(at_, 2) == "-]" || !low) {
        set.Add(first);
        continue;
      }
      ++at_;
      DS_ASSIGN(auto last, ClassMember());
      const std::optional<uint32_t> high = last.second;
      if (!high || *high < *low)
        return Fail("pattern \"{}\": a range out of order before offset {}", pattern_, at_);
      set.Add(*low, *high);
    }
    return Set(negated ? set.Complement() : set);
  }

  std::string_view pattern_;
  size_t at_ = 0;
  uint32_t last_hex_ = 0;
};

class Emitter {
 public:
  Emitter(Nfa* nfa, Spelling spelling) : nfa_(nfa), spelling_(spelling) {}

  // A whole pattern, or a group that is one: each alternative with what may stand around it.
  Status Whole(const Node& node, uint32_t from, bool open_left, bool open_right, uint32_t to) {
    if (node.kind == Node::Kind::kChoice) {
      for (const Node& child : node.children) {
        DS_RETURN_IF_ERROR(Whole(child, from, open_left, open_right, to));
      }
      return {};
    }
    if (node.kind != Node::Kind::kSequence) {
      Node sequence;
      sequence.children.push_back(node);
      return Whole(sequence, from, open_left, open_right, to);
    }
    size_t begin = 0, end = node.children.size();
    for (; begin < end && node.children[begin].kind == Node::Kind::kBegin; ++begin) open_left = false;
    for (; end > begin && node.children[end - 1].kind == Node::Kind::kEnd; --end) open_right = false;
    if (end == begin + 1 && (node.children[begin].kind == Node::Kind::kSequence ||
                             node.children[begin].kind == Node::Kind::kChoice)) {
      return Whole(node.children[begin], from, open_left, open_right, to);
    }
    if (open_left) from = AnyText(from);
    for (size_t i = begin; i < end; ++i) {
      DS_ASSIGN(from, Emit(node.children[i], from));
    }
    if (open_right) from = AnyText(from);
    nfa_->Epsilon(from, to);
    return {};
  }

 private:
  uint32_t AnyText(uint32_t from) {
    const uint32_t loop = nfa_->NewState();
    nfa_->Epsilon(from, loop);
    if (spelling_ == Spelling::kJson) {
      AddJsonCharacter(nfa_, loop, loop);
    } else {
      AddCharacter(nfa_, loop, {{0, CodePointSet::kMax}}, spelling_, loop);
    }
    return loop;
  }

  Result<uint32_t> Emit(const Node& node, uint32_t from) {
    if (nfa_->budget()->exhausted()) return from;
    switch (node.kind) {
      case Node::Kind::kSet: {
        const uint32_t to = nfa_->NewState();
        AddCharacter(nfa_, from, node.set, spelling_, to);
        return to;
      }
      case Node::Kind::kSequence:
        for (const Node& child : node.children) {
          DS_ASSIGN(from, Emit(child, from));
        }
        return from;
      case Node::Kind::kChoice: {
        const uint32_t to = nfa_->NewState();
        for (const Node& child : node.children) {
          DS_ASSIGN(const uint32_t end, Emit(child, from));
          nfa_->Epsilon(end, to);
        }
        return to;
      }
      case Node::Kind::kRepeat:
        return Repeat(node, from);
      case Node::Kind::kBegin:
      case Node::Kind::kEnd:
        break;
    }
    return Fail("pattern: an anchor is supported at the ends of an alternative only");
  }

  Result<uint32_t> Repeat(const Node& node, uint32_t from) {
    const Node& child = node.children[0];
    for (int64_t i = 0; i < node.least && !nfa_->budget()->exhausted(); ++i) {
      DS_ASSIGN(from, Emit(child, from));
    }
    if (node.most < 0) {
      const uint32_t loop = nfa_->NewState();
      nfa_->Epsilon(from, loop);
      DS_ASSIGN(const uint32_t end, Emit(child, loop));
      nfa_->Epsilon(end, loop);
      // Leaves by a state of its own: the loop may be repeated itself.
      const uint32_t to = nfa_->NewState();
      nfa_->Epsilon(loop, to);
      return to;
    }
    const uint32_t to = nfa_->NewState();
    for (int64_t i = node.least; i < node.most && !nfa_->budget()->exhausted(); ++i) {
      nfa_->Epsilon(from, to);
      DS_ASSIGN(from, Emit(child, from));
    }
    nfa_->Epsilon(from, to);
    return to;
  }

  Nfa* nfa_;
  Spelling spelling_;
};

}  // namespace

Status AddPattern(Nfa* nfa, uint32_t from, std::string_view pattern, bool searching, Spelling spelling,
                  uint32_t to) {
  DS_ASSIGN(const Node node, Parser(pattern).Parse());
  return Emitter(nfa, spelling).Whole(node, from, searching, searching, to);
}

}  // namespace deepshock
