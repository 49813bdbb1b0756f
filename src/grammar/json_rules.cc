// SPDX-License-Identifier: Apache-2.0
#include "grammar/json_rules.h"

#include <nlohmann/json.hpp>

#include "grammar/numbers.h"
#include "grammar/pattern.h"

namespace deepshock {
namespace {

const CodePointSet kAnyCharacter = {{0, CodePointSet::kMax}};

}  // namespace

uint32_t JsonRules::MadeOf(const Nfa& nfa) {
  const uint32_t rule = grammar_.NewRule();
  grammar_.SetBody(rule, Determinize(nfa));
  return rule;
}

uint32_t JsonRules::Blank() {
  if (blank_) return *blank_;
  Nfa nfa(grammar_.budget());
  nfa.Epsilon(Nfa::kStart, Nfa::kEnd);
  nfa.Bytes(Nfa::kStart, ' ', ' ', Nfa::kEnd);
  uint32_t state = nfa.NewState();
  nfa.Bytes(Nfa::kStart, '\n', '\n', state);
  for (int i = 0; i < kMaxIndentation; ++i) {
    const uint32_t next = nfa.NewState();
    nfa.Epsilon(state, Nfa::kEnd);
    nfa.Bytes(state, ' ', ' ', next);
    nfa.Bytes(state, '\t', '\t', next);
    state = next;
  }
  nfa.Epsilon(state, Nfa::kEnd);
  return *(blank_ = MadeOf(nfa));
}

// Exactly `count` characters, or any number up to that; ends in the state returned. Not by calls of a rule
// for one character: nearly every token would begin in one and go on in the next, which masks cannot know in
// advance.
uint32_t JsonRules::AddCharacters(Nfa* nfa, uint32_t from, int64_t count, bool exactly) {
  const uint32_t end = exactly ? 0 : nfa->NewState();
  for (int64_t i = 0; i < count && !grammar_.budget()->exhausted(); ++i) {
    if (!exactly) nfa->Epsilon(from, end);
    const uint32_t next = nfa->NewState();
    AddCharacter(nfa, from, kAnyCharacter, Spelling::kJson, next);
    from = next;
  }
  if (!exactly) nfa->Epsilon(from, end);
  return exactly ? from : end;
}

// Exactly a block.
uint32_t JsonRules::Block() {
  if (block_) return *block_;
  Nfa nfa(grammar_.budget());
  nfa.Epsilon(AddCharacters(&nfa, Nfa::kStart, kBlock, true), Nfa::kEnd);
  return *(block_ = MadeOf(nfa));
}

// Less than a block, and the quote after it.
uint32_t JsonRules::LastBlock() {
  if (last_block_) return *last_block_;
  Nfa nfa(grammar_.budget());
  nfa.Bytes(AddCharacters(&nfa, Nfa::kStart, kBlock - 1, false), '"', '"', Nfa::kEnd);
  return *(last_block_ = MadeOf(nfa));
}

uint32_t JsonRules::String() {
  if (string_) return *string_;
  Nfa nfa(grammar_.budget());
  const uint32_t inside = nfa.NewState();
  nfa.Bytes(Nfa::kStart, '"', '"', inside);
  AddJsonCharacter(&nfa, inside, inside);
  nfa.Bytes(inside, '"', '"', Nfa::kEnd);
  return *(string_ = MadeOf(nfa));
}

uint32_t JsonRules::Boolean() {
  if (boolean_) return *boolean_;
  Nfa nfa(grammar_.budget());
  nfa.Text(Nfa::kStart, "true", Nfa::kEnd);
  nfa.Text(Nfa::kStart, "false", Nfa::kEnd);
  return *(boolean_ = MadeOf(nfa));
}

uint32_t JsonRules::Value(int depth) {
  std::optional<uint32_t>& rule = values_[static_cast<size_t>(depth)];
  if (rule) return *rule;
  rule = grammar_.NewRule();
  Nfa nfa(grammar_.budget());
  nfa.Text(Nfa::kStart, "null", Nfa::kEnd);
  nfa.Call(Nfa::kStart, Boolean(), Nfa::kEnd);
  nfa.Call(Nfa::kStart, String(), Nfa::kEnd);
  AddNumber(&nfa, Nfa::kStart, {}, Nfa::kEnd);
  if (depth < kMaxFreeDepth) {
    nfa.Call(Nfa::kStart, Object(depth), Nfa::kEnd);
    nfa.Call(Nfa::kStart, Array(depth), Nfa::kEnd);
  }
  grammar_.SetBody(*rule, Determinize(nfa));
  return *rule;
}

uint32_t JsonRules::Object(int depth) {
  std::optional<uint32_t>& rule = objects_[static_cast<size_t>(depth)];
  if (rule) return *rule;
  rule = grammar_.NewRule();
  Nfa nfa(grammar_.budget());
  const uint32_t open = nfa.NewState(), first = nfa.NewState(), key = nfa.NewState(), colon = nfa.NewState(),
                 value = nfa.NewState(), after = nfa.NewState(), comma = nfa.NewState(),
                 close = nfa.NewState();
  nfa.Bytes(Nfa::kStart, '{', '{', open);
  nfa.Call(open, Blank(), first);
  nfa.Bytes(first, '}', '}', Nfa::kEnd);
  nfa.Epsilon(first, key);
  const uint32_t named = nfa.NewState();
  nfa.Call(key, String(), named);
  nfa.Bytes(named, ':', ':', colon);
  nfa.Call(colon, Blank(), value);
  nfa.Call(value, Value(depth + 1), after);
  nfa.Bytes(after, ',', ',', comma);
  nfa.Call(comma, Blank(), key);
  nfa.Call(after, Blank(), close);
  nfa.Bytes(close, '}', '}', Nfa::kEnd);
  grammar_.SetBody(*rule, Determinize(nfa));
  return *rule;
}

uint32_t JsonRules::Array(int depth) {
  std::optional<uint32_t>& rule = arrays_[static_cast<size_t>(depth)];
  if (rule) return *rule;
  rule = grammar_.NewRule();
  Nfa nfa(grammar_.budget());
  const uint32_t open = nfa.NewState(), first = nfa.NewState(), value = nfa.NewState(),
                 after = nfa.NewState(), comma = nfa.NewState(), close = nfa.NewState();
  nfa.Bytes(Nfa::kStart, '[', '[', open);
  nfa.Call(open, Blank(), first);
  nfa.Bytes(first, ']', ']', Nfa::kEnd);
  nfa.Epsilon(first, value);
  nfa.Call(value, Value(depth + 1), after);
  nfa.Bytes(after, ',', ',', comma);
  nfa.Call(comma, Blank(), value);
  nfa.Call(after, Blank(), close);
  nfa.Bytes(close, ']', ']', Nfa::kEnd);
  grammar_.SetBody(*rule, Determinize(nfa));
  return *rule;
}

Automaton JsonRules::CanonicalStrings() {
  Nfa nfa(grammar_.budget());
  const uint32_t inside = nfa.NewState();
  nfa.Bytes(Nfa::kStart, '"', '"', inside);
  AddCharacter(&nfa, inside, kAnyCharacter, Spelling::kJson, inside);
  nfa.Bytes(inside, '"', '"', Nfa::kEnd);
  return Determinize(nfa);
}

Result<Automaton> JsonRules::StringAutomaton(const StringRule& rule) {
  std::optional<Automaton> result;
  const auto add = [&](const std::string& pattern, bool searching) -> Status {
    Nfa nfa(grammar_.budget());
    const uint32_t begin = nfa.NewState(), end = nfa.NewState();
    nfa.Bytes(Nfa::kStart, '"', '"', begin);
    DS_RETURN_IF_ERROR(AddPattern(&nfa, begin, pattern, searching, Spelling::kJson, end));
    nfa.Bytes(end, '"', '"', Nfa::kEnd);
    Automaton automaton = Determinize(nfa);
    result = result ? Intersect(*result, automaton, grammar_.budget()) : Trim(automaton, {});
    return {};
  };
  for (const std::string& pattern : rule.whole_patterns) DS_RETURN_IF_ERROR(add(pattern, false));
  for (const std::string& pattern : rule.patterns) DS_RETURN_IF_ERROR(add(pattern, true));
  if (!result) result = CanonicalStrings();
  if (rule.min_length <= 0 && rule.max_length < 0) return *std::move(result);
  Nfa nfa(grammar_.budget());
  uint32_t state = nfa.NewState();
  nfa.Bytes(Nfa::kStart, '"', '"', state);
  const int64_t count = rule.max_length < 0 ? rule.min_length : rule.max_length;
  for (int64_t i = 0; i <= count && !grammar_.budget()->exhausted(); ++i) {
    if (i >= rule.min_length) nfa.Bytes(state, '"', '"', Nfa::kEnd);
    if (i == count) break;
    const uint32_t next = nfa.NewState();
    AddCharacter(&nfa, state, kAnyCharacter, Spelling::kJson, next);
    state = next;
  }
  if (rule.max_length < 0) AddCharacter(&nfa, state, kAnyCharacter, Spelling::kJson, state);
  return Intersect(*result, Determinize(nfa), grammar_.budget());
}

Result<uint32_t> JsonRules::String(const StringRule& string) {
  if (!string.patterns.empty() || !string.whole_patterns.empty()) {
    DS_ASSIGN(Automaton automaton, StringAutomaton(string));
    const uint32_t rule = grammar_.NewRule();
    grammar_.SetBody(rule, std::move(automaton));
    return rule;
  }
  if (string.min_length <= 0 && string.max_length < 0) return String();
  // Long ones in blocks: few states however long.
  Nfa nfa(grammar_.budget());
  uint32_t state = nfa.NewState();
  nfa.Bytes(Nfa::kStart, '"', '"', state);
  const auto add_blocks = [&](int64_t count, auto&& before) {
    for (int64_t i = 0; i < count && !grammar_.budget()->exhausted(); ++i) {
      before(state);
      const uint32_t next = nfa.NewState();
      nfa.Call(state, Block(), next);
      state = next;
    }
  };
  add_blocks(string.min_length / kBlock, [](uint32_t) {});
  state = AddCharacters(&nfa, state, string.min_length % kBlock, true);
  if (string.max_length < 0) {
    const uint32_t loop = nfa.NewState();
    nfa.Epsilon(state, loop);
    AddCharacter(&nfa, loop, kAnyCharacter, Spelling::kJson, loop);
    state = loop;
  } else if (string.max_length < string.min_length) {
    return MadeOf(Nfa(grammar_.budget()));  // nothing is valid
  } else {
    const int64_t more = string.max_length - string.min_length;
    add_blocks(more / kBlock, [&](uint32_t at) { nfa.Call(at, LastBlock(), Nfa::kEnd); });
    state = AddCharacters(&nfa, state, more % kBlock, false);
  }
  nfa.Bytes(state, '"', '"', Nfa::kEnd);
  return MadeOf(nfa);
}

void JsonRules::AddLiteral(Nfa* nfa, uint32_t from, const nlohmann::ordered_json& value, uint32_t to) {
  if (value.is_string())
    return nfa->Text(from, '"' + JsonSpelling(value.get_ref<const std::string&>()) + '"', to);
  if (!value.is_structured()) return nfa->Text(from, value.dump(), to);
  const char open = value.is_object() ? '{' : '[', close = value.is_object() ? '}' : ']';
  uint32_t state = nfa->NewState();
  nfa->Text(from, std::string_view(&open, 1), state);
  const auto blank = [&] {
    const uint32_t next = nfa->NewState();
    nfa->Call(state, Blank(), next);
    state = next;
  };
  const auto text = [&](const std::string& what) {
    const uint32_t next = nfa->NewState();
    nfa->Text(state, what, next);
    state = next;
  };
  blank();
  bool first = true;
  for (const auto& [name, child] : value.items()) {
    if (!first) {
      text(",");
      blank();
    }
    first = false;
    if (value.is_object()) {
      text('"' + JsonSpelling(name) + "\":");
      blank();
    }
    const uint32_t next = nfa->NewState();
    AddLiteral(nfa, state, child, next);
    state = next;
  }
  if (!first) blank();
  nfa->Text(state, std::string_view(&close, 1), to);
}

}  // namespace deepshock
