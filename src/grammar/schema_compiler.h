// SPDX-License-Identifier: Apache-2.0
// SchemaCompiler: the rules of one checked schema. A rule for each schema that differs; one behind a
// reference may call itself. Internal to json_schema.cc.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "grammar/json_rules.h"

namespace deepshock {

class SchemaCompiler {
 public:
  using Json = nlohmann::ordered_json;

  SchemaCompiler(const Json& root, GrammarBuilder* grammar)
      : root_(root), grammar_(*grammar), rules_(grammar) {}

  // A value that the schema at `pointer` finds valid.
  Result<uint32_t> RuleFor(const Json& schema, const std::string& pointer);
  JsonRules& rules() { return rules_; }

 private:
  Status AddSchema(Nfa* nfa, const Json& schema, const std::string& pointer);
  // One alternative of FlattenSchema, between start and end.
  Status AddFlat(Nfa* nfa, const Json& flat, const std::string& pointer);
  Status AddEnum(Nfa* nfa, const Json& flat, const std::string& pointer);
  Status AddType(Nfa* nfa, const std::string& type, const Json& flat, const std::string& pointer);
  Status AddString(Nfa* nfa, const Json& flat, const std::string& pointer);
  Status AddNumbers(Nfa* nfa, const Json& flat, bool only_integers, const std::string& pointer);
  Status AddArray(Nfa* nfa, const Json& flat, const std::string& pointer);
  Status AddObject(Nfa* nfa, const Json& flat, const std::string& pointer);

  struct Property {
    std::string name;
    uint32_t rule;
    bool required;
  };
  // Names that are not declared: the rule of the name, in quotes, and of the value.
  struct Extra {
    uint32_t name_rule, value_rule;
  };
  Result<std::vector<Property>> Properties(const Json& flat, const std::string& pointer);
  Result<std::vector<Extra>> Extras(const Json& flat, const std::vector<Property>& properties,
                                    const std::string& pointer);
  void AddProperty(Nfa* nfa, uint32_t from, const Property& property, uint32_t to);
  void AddBlank(Nfa* nfa, uint32_t from, uint32_t to) { nfa->Call(from, rules_.Blank(), to); }
  Result<StringRule> StringRuleOf(const Json& flat, const std::string& pointer);
  Result<Automaton> NumberAutomaton(const Json& flat, bool only_integers, const std::string& pointer);

  const Json& root_;
  GrammarBuilder& grammar_;
  JsonRules rules_;
  std::map<std::string, uint32_t> known_;  // by the schema's text
};

}  // namespace deepshock
