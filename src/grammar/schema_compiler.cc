// SPDX-License-Identifier: Apache-2.0
#include "grammar/schema_compiler.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "grammar/formats.h"
#include "grammar/numbers.h"
#include "grammar/schema_check.h"
#include "grammar/schema_merge.h"

namespace deepshock {
namespace {

using Json = nlohmann::ordered_json;

int64_t CountOf(const Json& flat, const char* key, int64_t otherwise) {
  return flat.contains(key) ? flat[key].get<int64_t>() : otherwise;
}

// Without what says nothing about values.
Json WithoutAnnotations(const Json& schema) {
  if (!schema.is_object()) return schema;
  Json result = Json::object();
  for (const auto& [name, value] : schema.items()) {
    if (!IsAnnotation(name) && name != "$defs" && name != "definitions") result[name] = value;
  }
  return result;
}

// The types that a schema without "type" speaks about; all where it speaks about none.
std::vector<std::string> TypesOf(const Json& flat) {
  if (flat.contains("type")) return flat["type"].get<std::vector<std::string>>();
  struct Hint {
    const char* keyword;
    const char* type;
  };
  std::vector<std::string> types;
  for (const Hint& hint : std::initializer_list<Hint>{{"properties", "object"},
                                                      {"required", "object"},
                                                      {"additionalProperties", "object"},
                                                      {"patternProperties", "object"},
                                                      {"propertyNames", "object"},
                                                      {"minProperties", "object"},
                                                      {"maxProperties", "object"},
                                                      {"items", "array"},
                                                      {"prefixItems", "array"},
                                                      {"minItems", "array"},
                                                      {"maxItems", "array"},
                                                      {"pattern", "string"},
                                                      {"format", "string"},
                                                      {"minLength", "string"},
                                                      {"maxLength", "string"},
                                                      {"minimum", "number"},
                                                      {"maximum", "number"},
                                                      {"exclusiveMinimum", "number"},
                                                      {"exclusiveMaximum", "number"},
                                                      {"multipleOf", "number"}}) {
    if (flat.contains(hint.keyword) && std::find(types.begin(), types.end(), hint.type) == types.end())
      types.emplace_back(hint.type);
  }
  return types;
}

std::string Quoted(const std::string& text) { return '"' + JsonSpelling(text) + '"'; }

}  // namespace

Result<uint32_t> SchemaCompiler::RuleFor(const Json& schema, const std::string& pointer) {
  const Json bare = WithoutAnnotations(schema);
  const std::string key = bare.dump(-1, ' ', false, Json::error_handler_t::replace);
  // A schema's text is copied at each level above it.
  grammar_.budget()->Spend(static_cast<int64_t>(key.size()) / 4 + 10);
  if (const auto at = known_.find(key); at != known_.end()) return at->second;
  const uint32_t rule = grammar_.NewRule();
  known_[key] = rule;
  if (grammar_.budget()->exhausted()) return rule;
  Nfa nfa(grammar_.budget());
  DS_RETURN_IF_ERROR(AddSchema(&nfa, bare, pointer));
  grammar_.SetBody(rule, Determinize(nfa));
  return rule;
}

Status SchemaCompiler::AddSchema(Nfa* nfa, const Json& schema, const std::string& pointer) {
  if (schema == true || schema == Json::object()) {
    nfa->Call(Nfa::kStart, rules_.Value(), Nfa::kEnd);
    return {};
  }
  if (schema == false) return {};
  // What is nothing but a reference or a choice stays one, so that recursion is a rule that calls itself.
  if (schema.size() == 1) {
    if (schema.contains("$ref")) {
      const auto target = schema["$ref"].get<std::string>().substr(1);
      DS_ASSIGN(const uint32_t rule, RuleFor(root_.at(Json::json_pointer(target)), target));
      nfa->Call(Nfa::kStart, rule, Nfa::kEnd);
      return {};
    }
    for (const char* key : {"anyOf", "oneOf", "allOf"}) {
      if (!schema.contains(key) || (key == std::string_view("allOf") && schema[key].size() != 1)) continue;
      const std::string list = Under(pointer, key);
      for (size_t i = 0; i < schema[key].size(); ++i) {
        DS_ASSIGN(const uint32_t rule, RuleFor(schema[key][i], Under(list, std::to_string(i))));
        nfa->Call(Nfa::kStart, rule, Nfa::kEnd);
      }
      return {};
    }
  }
  DS_ASSIGN(const std::vector<Json> alternatives, FlattenSchema(root_, schema).WithContext(pointer));
  for (const Json& flat : alternatives) DS_RETURN_IF_ERROR(AddFlat(nfa, flat, pointer));
  return {};
}

Status SchemaCompiler::AddFlat(Nfa* nfa, const Json& flat, const std::string& pointer) {
  if (flat.contains("enum")) return AddEnum(nfa, flat, pointer);
  const std::vector<std::string> types = TypesOf(flat);
  if (types.empty()) nfa->Call(Nfa::kStart, rules_.Value(), Nfa::kEnd);
  for (const std::string& type : types) DS_RETURN_IF_ERROR(AddType(nfa, type, flat, pointer));
  return {};
}

Status SchemaCompiler::AddEnum(Nfa* nfa, const Json& flat, const std::string& pointer) {
  const auto speaks_of = [&](std::initializer_list<const char*> keywords) {
    return std::any_of(keywords.begin(), keywords.end(),
                       [&](const char* keyword) { return flat.contains(keyword); });
  };
  const bool about_strings = speaks_of({"pattern", "format", "minLength", "maxLength"});
  const bool about_numbers =
      speaks_of({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"});
  const bool about_others =
      speaks_of({"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
                 "minProperties", "maxProperties", "items", "prefixItems", "minItems", "maxItems"});
  Automaton strings, numbers;
  if (about_strings) {
    DS_ASSIGN(const StringRule rule, StringRuleOf(flat, pointer));
    DS_ASSIGN(strings, rules_.StringAutomaton(rule).WithContext(pointer));
  }
  if (about_numbers) {
    DS_ASSIGN(numbers, NumberAutomaton(flat, false, pointer));
  }
  for (const Json& value : flat["enum"]) {
    if (flat.contains("type") && !HasType(value, flat["type"])) continue;
    if (about_strings && value.is_string() && !strings.Matches(Quoted(value.get<std::string>()))) continue;
    if (about_numbers && value.is_number() && !numbers.Matches(value.dump())) continue;
    if (about_others && value.is_structured()) {
      return Fail("{}: objects and arrays beside keywords about them are not supported",
                  Under(pointer, "enum"));
    }
    rules_.AddLiteral(nfa, Nfa::kStart, value, Nfa::kEnd);
  }
  return {};
}

Status SchemaCompiler::AddType(Nfa* nfa, const std::string& type, const Json& flat,
                               const std::string& pointer) {
  if (type == "null") {
    nfa->Text(Nfa::kStart, "null", Nfa::kEnd);
  } else if (type == "boolean") {
    nfa->Call(Nfa::kStart, rules_.Boolean(), Nfa::kEnd);
  } else if (type == "string") {
    return AddString(nfa, flat, pointer);
  } else if (type == "integer" || type == "number") {
    return AddNumbers(nfa, flat, type == "integer", pointer);
  } else if (type == "array") {
    return AddArray(nfa, flat, pointer);
  } else {
    return AddObject(nfa, flat, pointer);
  }
  return {};
}

Result<StringRule> SchemaCompiler::StringRuleOf(const Json& flat, const std::string& pointer) {
  StringRule rule;
  rule.min_length = CountOf(flat, "minLength", 0);
  rule.max_length = CountOf(flat, "maxLength", -1);
  for (const Json& pattern : flat.value("pattern", Json::array()))
    rule.patterns.push_back(pattern.get<std::string>());
  for (const Json& name : flat.value("format", Json::array())) {
    const auto format = name.get<std::string>();
    const std::optional<std::string> pattern = PatternOfFormat(format);
    if (!pattern) {
      return Fail("{}: expected one of {}, found \"{}\"", Under(pointer, "format"),
                  fmt::join(KnownFormats(), ", "), format);
    }
    rule.whole_patterns.push_back(*pattern);
  }
  return rule;
}

Status SchemaCompiler::AddString(Nfa* nfa, const Json& flat, const std::string& pointer) {
  DS_ASSIGN(const StringRule string, StringRuleOf(flat, pointer));
  DS_ASSIGN(const uint32_t rule, rules_.String(string).WithContext(pointer));
  nfa->Call(Nfa::kStart, rule, Nfa::kEnd);
  return {};
}

Result<Automaton> SchemaCompiler::NumberAutomaton(const Json& flat, bool only_integers,
                                                  const std::string& pointer) {
  NumberRange range;
  range.only_integers = only_integers;
  // The tighter of an inclusive and an exclusive bound.
  const auto bound = [&](const char* inclusive, const char* exclusive, bool lower,
                         std::optional<Decimal>* value, bool* excluded) {
    const bool has_inclusive = flat.contains(inclusive), has_exclusive = flat.contains(exclusive);
    if (!has_inclusive && !has_exclusive) return;
    *excluded =
        has_exclusive &&
        (!has_inclusive || (lower ? flat[exclusive] >= flat[inclusive] : flat[exclusive] <= flat[inclusive]));
    *value = Decimal::Parse(flat[*excluded ? exclusive : inclusive].dump());
  };
  bound("minimum", "exclusiveMinimum", true, &range.low, &range.low_excluded);
  bound("maximum", "exclusiveMaximum", false, &range.high, &range.high_excluded);
  for (const Json& name : flat.value("format", Json::array())) {
    const auto format = name.get<std::string>();
    if (format == "int32" && only_integers) {
      if (!range.low) range.low = Decimal::Parse("-2147483648");
      if (!range.high) range.high = Decimal::Parse("2147483647");
    }
  }
  Nfa nfa(grammar_.budget());
  AddNumber(&nfa, Nfa::kStart, range, Nfa::kEnd);
  Automaton result = Trim(Determinize(nfa), {});
  if (!flat.contains("multipleOf")) return result;
  Nfa multiples(grammar_.budget());
  DS_RETURN_IF_ERROR(
      AddMultiples(&multiples, Nfa::kStart, Decimal::Parse(flat["multipleOf"].dump()), Nfa::kEnd)
          .WithContext(pointer));
  return Intersect(result, Determinize(multiples), grammar_.budget());
}

Status SchemaCompiler::AddNumbers(Nfa* nfa, const Json& flat, bool only_integers,
                                  const std::string& pointer) {
  DS_ASSIGN(Automaton automaton, NumberAutomaton(flat, only_integers, pointer));
  const uint32_t rule = grammar_.NewRule();
  grammar_.SetBody(rule, std::move(automaton));
  nfa->Call(Nfa::kStart, rule, Nfa::kEnd);
  return {};
}

Status SchemaCompiler::AddArray(Nfa* nfa, const Json& flat, const std::string& pointer) {
  const Json prefix = flat.value("prefixItems", Json::array());
  const auto num_prefix = static_cast<int64_t>(prefix.size());
  const int64_t least = CountOf(flat, "minItems", 0);
  int64_t most = CountOf(flat, "maxItems", -1);
  const Json items = flat.value("items", Json(true));
  // After a tuple no more than is asked for.
  if (num_prefix > 0 && (!flat.contains("items") || items == false)) {
    const int64_t enough = items == false ? num_prefix : std::max(num_prefix, least);
    most = most < 0 ? enough : std::min(most, enough);
  }
  if (items == false && num_prefix == 0) most = 0;
  if (most >= 0 && most < least) return {};  // nothing is valid
  const int64_t last = std::max({least, most, num_prefix, int64_t{1}});

  uint32_t open = nfa->NewState(), state = nfa->NewState();
  nfa->Bytes(Nfa::kStart, '[', '[', open);
  AddBlank(nfa, open, state);
  for (int64_t i = 0; i <= last && !grammar_.budget()->exhausted(); ++i) {
    if (i >= least) {
      const uint32_t close = i == 0 ? state : nfa->NewState();
      if (i > 0) AddBlank(nfa, state, close);
      nfa->Bytes(close, ']', ']', Nfa::kEnd);
    }
    if (most >= 0 && i >= most) break;
    uint32_t begin = state;
    if (i > 0) {
      const uint32_t comma = nfa->NewState();
      begin = nfa->NewState();
      nfa->Bytes(state, ',', ',', comma);
      AddBlank(nfa, comma, begin);
    }
    const bool in_prefix = i < num_prefix;
    const std::string step =
        in_prefix ? Under(Under(pointer, "prefixItems"), std::to_string(i)) : Under(pointer, "items");
    DS_ASSIGN(const uint32_t rule, RuleFor(in_prefix ? prefix[static_cast<size_t>(i)] : items, step));
    const uint32_t next = i == last ? state : nfa->NewState();
    nfa->Call(begin, rule, next);
    state = next;
  }
  return {};
}

Result<std::vector<SchemaCompiler::Property>> SchemaCompiler::Properties(const Json& flat,
                                                                         const std::string& pointer) {
  const Json declared = flat.value("properties", Json::object());
  const auto required = flat.value("required", Json::array()).get<std::vector<std::string>>();
  const Json patterns = flat.value("patternProperties", Json::object());
  std::vector<std::pair<std::string, Json>> schemas;
  for (const auto& [name, schema] : declared.items()) schemas.emplace_back(name, schema);
  for (const std::string& name : required) {
    if (declared.contains(name)) continue;
    const auto same = [&](const auto& known) { return known.first == name; };
    if (std::any_of(schemas.begin(), schemas.end(), same)) continue;
    // Required, and described by what describes other names.
    schemas.emplace_back(name,
                         patterns.empty() ? flat.value("additionalProperties", Json(true)) : Json(true));
  }
  std::vector<std::pair<Automaton, Json>> by_pattern;
  for (const auto& [pattern, schema] : patterns.items()) {
    DS_ASSIGN(Automaton names, rules_.StringAutomaton({0, -1, {pattern}, {}})
                                   .WithContext(Under(Under(pointer, "patternProperties"), pattern)));
    by_pattern.emplace_back(std::move(names), schema);
  }
  std::vector<Property> result;
  for (auto& [name, schema] : schemas) {
    bool described = declared.contains(name) || patterns.empty();
    for (const auto& [names, more] : by_pattern) {
      if (!names.Matches(Quoted(name))) continue;
      schema = schema == true ? more : Json{{"allOf", Json::array({schema, more})}};
      described = true;
    }
    if (!described) schema = flat.value("additionalProperties", Json(true));
    DS_ASSIGN(const uint32_t rule, RuleFor(schema, Under(Under(pointer, "properties"), name)));
    result.push_back({name, rule, std::find(required.begin(), required.end(), name) != required.end()});
  }
  return result;
}

Result<std::vector<SchemaCompiler::Extra>> SchemaCompiler::Extras(const Json& flat,
                                                                  const std::vector<Property>& properties,
                                                                  const std::string& pointer) {
  const Json patterns = flat.value("patternProperties", Json::object());
  // Without a word about others there are none beside those declared.
  const bool closed = !properties.empty() || !patterns.empty() || flat.contains("properties");
  const Json additional = flat.value("additionalProperties", Json(!closed));
  std::vector<Extra> result;
  if (additional == false && patterns.empty()) return result;

  Automaton names = rules_.CanonicalStrings();
  if (flat.contains("propertyNames")) {
    const std::string here = Under(pointer, "propertyNames");
    Json schema = flat["propertyNames"];
    DS_ASSIGN(const std::vector<Json> alternatives, FlattenSchema(root_, schema).WithContext(here));
    if (alternatives.size() != 1) return Fail("{}: a choice is not supported", here);
    if (alternatives[0].contains("enum")) {
      Nfa nfa(grammar_.budget());
      for (const Json& name : alternatives[0]["enum"]) {
        if (name.is_string()) nfa.Text(Nfa::kStart, Quoted(name.get<std::string>()), Nfa::kEnd);
      }
      names = Trim(Determinize(nfa), {});
    }
    DS_ASSIGN(const StringRule rule, StringRuleOf(alternatives[0], here));
    DS_ASSIGN(const Automaton valid, rules_.StringAutomaton(rule).WithContext(here));
    names = Intersect(names, valid, grammar_.budget());
  }
  Nfa declared(grammar_.budget());
  for (const Property& property : properties) declared.Text(Nfa::kStart, Quoted(property.name), Nfa::kEnd);
  names = Minus(names, Determinize(declared), grammar_.budget());
  const auto add = [&](const Automaton& automaton, const Json& schema, const std::string& where) -> Status {
    DS_ASSIGN(const uint32_t value, RuleFor(schema, where));
    const uint32_t name = grammar_.NewRule();
    grammar_.SetBody(name, automaton);
    result.push_back({name, value});
    return {};
  };
  Automaton others = names;
  for (const auto& [pattern, schema] : patterns.items()) {
    const std::string here = Under(Under(pointer, "patternProperties"), pattern);
    DS_ASSIGN(const Automaton matching, rules_.StringAutomaton({0, -1, {pattern}, {}}).WithContext(here));
    const Automaton own = Intersect(names, matching, grammar_.budget());
    if (!Minus(own, others, grammar_.budget()).states.empty()) {
      return Fail("{}: names that another pattern matches too are not supported", here);
    }
    DS_RETURN_IF_ERROR(add(own, schema, here));
    others = Minus(others, matching, grammar_.budget());
  }
  if (additional != false)
    DS_RETURN_IF_ERROR(add(others, additional, Under(pointer, "additionalProperties")));
  return result;
}

void SchemaCompiler::AddProperty(Nfa* nfa, uint32_t from, const Property& property, uint32_t to) {
  const uint32_t colon = nfa->NewState(), value = nfa->NewState();
  nfa->Text(from, Quoted(property.name) + ":", colon);
  AddBlank(nfa, colon, value);
  nfa->Call(value, property.rule, to);
}

// State (i, c): before property i, c written, as far as counting matters. Properties come in the order
// declared, those that are not required may be left out.
Status SchemaCompiler::AddObject(Nfa* nfa, const Json& flat, const std::string& pointer) {
  DS_ASSIGN(const std::vector<Property> properties, Properties(flat, pointer));
  DS_ASSIGN(const std::vector<Extra> extras, Extras(flat, properties, pointer));
  const int64_t least = CountOf(flat, "minProperties", 0), most = CountOf(flat, "maxProperties", -1);
  const auto n = static_cast<int64_t>(properties.size());
  if (most >= 0 && most < least) return {};
  int64_t cap = std::max<int64_t>(least, 1);
  if (most >= 0) cap = std::max(cap, extras.empty() ? std::min(most, n) : most);
  if (extras.empty() && least > n) return {};
  std::map<std::pair<int64_t, int64_t>, uint32_t> states;
  const auto at = [&](int64_t i, int64_t c) {
    const auto [found, is_new] = states.try_emplace({i, std::min(c, cap)}, 0);
    if (is_new) found->second = nfa->NewState();
    return found->second;
  };
  // Where the next property may begin.
  const auto separated = [&](uint32_t state, int64_t c) {
    if (c == 0) return state;
    const uint32_t comma = nfa->NewState(), begin = nfa->NewState();
    nfa->Bytes(state, ',', ',', comma);
    AddBlank(nfa, comma, begin);
    return begin;
  };
  const uint32_t open = nfa->NewState();
  nfa->Bytes(Nfa::kStart, '{', '{', open);
  AddBlank(nfa, open, at(0, 0));
  for (int64_t i = 0; i <= n; ++i) {
    for (int64_t c = 0; c <= std::min(i < n ? i : std::max(n, cap), cap); ++c) {
      if (grammar_.budget()->exhausted()) return {};
      if (!states.contains({i, c})) continue;
      const uint32_t state = at(i, c);
      const bool full = most >= 0 && c >= most;
      if (i < n) {
        const Property& property = properties[static_cast<size_t>(i)];
        if (!full) AddProperty(nfa, separated(state, c), property, at(i + 1, c + 1));
        if (!property.required) nfa->Epsilon(state, at(i + 1, c));
        continue;
      }
      if (!full && !extras.empty()) {
        const uint32_t begin = separated(state, c);
        for (const Extra& extra : extras) {
          const uint32_t name = nfa->NewState(), colon = nfa->NewState(), value = nfa->NewState();
          nfa->Call(begin, extra.name_rule, name);
          nfa->Bytes(name, ':', ':', colon);
          AddBlank(nfa, colon, value);
          nfa->Call(value, extra.value_rule, at(n, c + 1));
        }
      }
      if (c < least) continue;
      const uint32_t close = c == 0 ? state : nfa->NewState();
      if (c > 0) AddBlank(nfa, state, close);
      nfa->Bytes(close, '}', '}', Nfa::kEnd);
    }
  }
  return {};
}

}  // namespace deepshock
