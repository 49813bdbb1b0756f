// SPDX-License-Identifier: Apache-2.0
// The rules that grammars of JSON have in common: blanks, strings, values of any kind. Made when first asked
// for. Between the parts of an object or array there may be nothing, one space, or a new line and up to
// kMaxIndentation spaces or tabs; so a model cannot write blanks for ever. Internal to this folder.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "grammar/code_points.h"
#include "grammar/grammar.h"

namespace deepshock {

constexpr int kMaxIndentation = 32;
constexpr int64_t kBlock = 256;    // characters of counted strings that are counted by states of their own
constexpr int kMaxFreeDepth = 16;  // levels of objects and arrays of which nothing is known

// What is known of a string.
struct StringRule {
  int64_t min_length = 0, max_length = -1;  // in characters; -1: any
  std::vector<std::string> patterns;        // of which each matches somewhere
  std::vector<std::string> whole_patterns;  // of which each matches the whole
};

class JsonRules {
 public:
  explicit JsonRules(GrammarBuilder* grammar) : grammar_(*grammar) {}

  uint32_t Blank();
  uint32_t String();
  uint32_t Boolean();
  // Any value, object or array whose objects and arrays are nested in `depth` of their kind.
  uint32_t Value(int depth = 0);
  uint32_t Object(int depth = 0);
  uint32_t Array(int depth = 0);

  // A rule for strings; fails on faulty patterns.
  Result<uint32_t> String(const StringRule& rule);
  // The strings themselves, with quotes, without calls.
  Result<Automaton> StringAutomaton(const StringRule& rule);
  // All strings in their one canonical spelling.
  Automaton CanonicalStrings();

  // A given value, with blanks where there may be some.
  void AddLiteral(Nfa* nfa, uint32_t from, const nlohmann::ordered_json& value, uint32_t to);

 private:
  uint32_t MadeOf(const Nfa& nfa);
  uint32_t AddCharacters(Nfa* nfa, uint32_t from, int64_t count, bool exactly);
  uint32_t Block();
  uint32_t LastBlock();

  GrammarBuilder& grammar_;
  std::optional<uint32_t> blank_, string_, boolean_, block_, last_block_;
  std::vector<std::optional<uint32_t>> values_ = std::vector<std::optional<uint32_t>>(kMaxFreeDepth + 1);
  std::vector<std::optional<uint32_t>> objects_ = values_, arrays_ = values_;
};

}  // namespace deepshock
