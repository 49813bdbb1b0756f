// SPDX-License-Identifier: Apache-2.0
#include "grammar/ebnf.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "grammar/code_points.h"
#include "grammar/pattern.h"

namespace deepshock {
namespace {

constexpr size_t kMaxTextBytes = 1 << 20;
constexpr int kMaxDepth = 64;

struct Node {
  enum class Kind { kSequence, kChoice, kSet, kRule, kRepeat };
  Kind kind = Kind::kSequence;
  CodePointSet set;
  uint32_t rule = 0;
  int64_t least = 0, most = 0;  // kRepeat; most -1: any number
  std::vector<Node> children;
};

class Parser {
 public:
  Parser(std::string_view text, GrammarBuilder* grammar) : text_(text), grammar_(*grammar) {}

  // The rule named "root"; all bodies are set.
  Result<uint32_t> Parse() {
    if (text_.size() > kMaxTextBytes)
      return Fail("expected at most {} bytes, found {}", kMaxTextBytes, text_.size());
    if (FindInvalidUtf8(text_) != std::string_view::npos) return Fail("expected UTF-8");
    SkipBlank();
    while (at_ < text_.size()) {
      const std::string name(Name());
      if (name.empty() || !TakeDefinition()) return Unexpected("a rule, name ::= ...");
      if (!defined_.emplace(name, true).second) return Fail("rule \"{}\" is defined twice", name);
      const uint32_t rule = RuleNamed(name);
      DS_ASSIGN(const Node body, Choice(0));
      Nfa nfa(grammar_.budget());
      nfa.Epsilon(Emit(&nfa, body, Nfa::kStart), Nfa::kEnd);
      grammar_.SetBody(rule, Determinize(nfa));
    }
    for (const auto& [name, rule] : rules_) {
      if (!defined_.contains(name)) return Fail("rule \"{}\" is used and not defined", name);
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) return Fail("expected a rule named \"root\", found none");
    return root->second;
  }

 private:
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Take(std::string_view what) {
    if (text_.substr(at_, what.size()) != what) return false;
    at_ += what.size();
    return true;
  }
  void SkipBlank() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size() - 1);
      } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
        break;
      }
    }
  }
  Status Unexpected(std::string_view expected) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
    return Fail("line {}: expected {}, found {}", line, expected,
                at_ < text_.size() ? "\"" + std::string(text_.substr(at_, 12)) + "\"" : "the end");
  }
  std::string_view Name() {
    const size_t begin = at_;
    const auto is_name = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
             c == '_';
    };
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  bool TakeDefinition() {
    SkipBlank();
    if (!Take("::=")) return false;
    SkipBlank();
    return true;
  }
  uint32_t RuleNamed(const std::string& name) {
    const auto [at, is_new] = rules_.try_emplace(name, 0);
    if (is_new) at->second = grammar_.NewRule();
    return at->second;
  }

  Result<Node> Choice(int depth) {
    if (depth > kMaxDepth) return Fail("expected at most {} nested groups", kMaxDepth);
    Node choice;
    choice.kind = Node::Kind::kChoice;
    do {
      SkipBlank();
      DS_ASSIGN(Node sequence, Sequence(depth));
      choice.children.push_back(std::move(sequence));
    } while (Take("|"));
    return choice;
  }

  Result<Node> Sequence(int depth) {
    Node sequence;
    for (;;) {
      SkipBlank();
      const char c = Peek();
      if (c == '\0' || c == '|' || c == ')') return sequence;
      if (c == '"') {
        // Repetition is the whole literal's.
        DS_ASSIGN(Node literal, Literal());
        DS_ASSIGN(literal, Repeated(std::move(literal)));
        sequence.children.push_back(std::move(literal));
        continue;
      }
      Node atom;
      if (Take("[")) {
        DS_ASSIGN(atom, Class());
      } else if (Take(".")) {
        atom.kind = Node::Kind::kSet;
        atom.set.Add(0, CodePointSet::kMax);
      } else if (Take("(")) {
        DS_ASSIGN(atom, Choice(depth + 1));
        if (!Take(")")) return Unexpected("\")\"");
      } else {
        const size_t begin = at_;
        const std::string name(Name());
        if (name.empty()) return Unexpected("a literal, a class, a group or a rule's name");
        if (TakeDefinition()) {  // the next rule
          at_ = begin;
          return sequence;
        }
        atom.kind = Node::Kind::kRule;
        atom.rule = RuleNamed(name);
      }
      DS_ASSIGN(atom, Repeated(std::move(atom)));
      sequence.children.push_back(std::move(atom));
    }
  }

  std::optional<int64_t> Number() {
    const size_t begin = at_;
    int64_t value = 0;
    for (; Peek() >= '0' && Peek() <= '9'; ++at_)
      value = std::min(value * 10 + (Peek() - '0'), kMaxRepeats + 1);
    return at_ > begin ? std::optional<int64_t>(value) : std::nullopt;
  }

  Result<Node> Repeated(Node atom) {
    SkipBlank();
    Node repeat;
    repeat.kind = Node::Kind::kRepeat;
    repeat.most = -1;
    if (Take("*")) {
    } else if (Take("+")) {
      repeat.least = 1;
    } else if (Take("?")) {
      repeat.most = 1;
    } else if (Take("{")) {
      const std::optional<int64_t> least = Number();
      repeat.least = repeat.most = least.value_or(0);
      if (Take(",")) repeat.most = Number().value_or(-1);
      if (!least || !Take("}") || (repeat.most >= 0 && repeat.most < repeat.least))
        return Unexpected("{m}, {m,} or {m,n}");
      if (std::max(repeat.least, repeat.most) > kMaxRepeats)
        return Fail("expected at most {} repetitions", kMaxRepeats);
    } else {
      return atom;
    }
    repeat.children.push_back(std::move(atom));
    return repeat;
  }

  // One character of a literal or class, escapes included.
  Result<uint32_t> Character() {
    if (at_ >= text_.size() || Peek() == '\n') return Unexpected("a character");
    if (!Take("\\")) {
      const Utf8Char c = DecodeUtf8(text_.substr(at_));
      at_ += static_cast<size_t>(c.length);
      return c.code_point;
    }
    const char escape = Peek();
    ++at_;
    const size_t num_digits = escape == 'x' ? 2 : escape == 'u' ? 4 : escape == 'U' ? 8 : 0;
    if (num_digits == 0) {
      static const std::map<char, uint32_t> known = {{'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'\\', '\\'},
                                                     {'"', '"'},  {'[', '['},  {']', ']'},  {'-', '-'},
                                                     {'^', '^'},  {'/', '/'}};
      const auto at = known.find(escape);
      if (at != known.end()) return at->second;
      at_ -= 1;
      return Unexpected("a known escape");
    }
    uint32_t value = 0;
    for (size_t i = 0; i < num_digits; ++i, ++at_) {
      const char c = Peek(), lower = static_cast<char>(c | 0x20);
      const bool digit = c >= '0' && c <= '9', letter = lower >= 'a' && lower <= 'f';
      if (!digit && !letter) return Unexpected("a hexadecimal digit");
      value = value * 16 + static_cast<uint32_t>(digit ? c - '0' : lower - 'a' + 10);
    }
    if (value > CodePointSet::kMax) return Unexpected("a character up to U+10FFFF");
    return value;
  }

  Result<Node> Literal() {
    Node literal;
    for (Take("\""); !Take("\"");) {
      DS_ASSIGN(const uint32_t c, Character());
      Node one;
      one.kind = Node::Kind::kSet;
      one.set.Add(c, c);
      literal.children.push_back(std::move(one));
    }
    return literal;
  }

  Result<Node> Class() {
    Node node;
    node.kind = Node::Kind::kSet;
    const bool negated = Take("^");
    while (!Take("]")) {
      DS_ASSIGN(const uint32_t low, Character());
      uint32_t high = low;
      if (Peek() == '-' && text_.substr(at_, 2) != "-]") {
        ++at_;
        DS_ASSIGN(high, Character());
        if (high < low) return Unexpected("a range in order");
      }
      node.set.Add(low, high);
    }
    if (negated) node.set = node.set.Complement();
    return node;
  }

  static uint32_t Emit(Nfa* nfa, const Node& node, uint32_t from) {
    if (nfa->budget()->exhausted()) return from;
    const uint32_t to = nfa->NewState();
    switch (node.kind) {
      case Node::Kind::kSequence:
        for (const Node& child : node.children) from = Emit(nfa, child, from);
        nfa->Epsilon(from, to);
        break;
      case Node::Kind::kChoice:
        for (const Node& child : node.children) nfa->Epsilon(Emit(nfa, child, from), to);
        break;
      case Node::Kind::kSet:
        AddCharacter(nfa, from, node.set, Spelling::kPlain, to);
        break;
      case Node::Kind::kRule:
        nfa->Call(from, node.rule, to);
        break;
      case Node::Kind::kRepeat: {
        const Node& child = node.children[0];
        for (int64_t i = 0; i < node.least && !nfa->budget()->exhausted(); ++i) from = Emit(nfa, child, from);
        if (node.most < 0) {
          const uint32_t loop = nfa->NewState();
          nfa->Epsilon(from, loop);
          nfa->Epsilon(Emit(nfa, child, loop), loop);
          from = loop;
        }
        for (int64_t i = node.least; i < node.most && !nfa->budget()->exhausted(); ++i) {
          nfa->Epsilon(from, to);
          from = Emit(nfa, child, from);
        }
        nfa->Epsilon(from, to);
        break;
      }
    }
    return to;
  }

  std::string_view text_;
  GrammarBuilder& grammar_;
  size_t at_ = 0;
  std::map<std::string, uint32_t> rules_;
  std::map<std::string, bool> defined_;
};

}  // namespace

Result<std::shared_ptr<const Grammar>> CompileEbnf(std::string_view text, int64_t max_steps) {
  Budget budget(max_steps);
  GrammarBuilder builder(&budget);
  DS_ASSIGN(const uint32_t root, Parser(text, &builder).Parse().WithContext("grammar"));
  return builder.Build(root).WithContext("grammar");
}

}  // namespace deepshock
