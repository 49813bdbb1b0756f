// SPDX-License-Identifier: Apache-2.0
#include "grammar/schema_merge.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

#include "grammar/schema_check.h"

namespace deepshock {
namespace {

using Json = nlohmann::ordered_json;

Json Both(const Json& a, const Json& b) {
  if (a == b || b == true) return a;
  if (a == true) return b;
  return Json{{"allOf", Json::array({a, b})}};
}

void MakeList(Json* schema, const char* key) {
  if (schema->contains(key) && !(*schema)[key].is_array()) (*schema)[key] = Json::array({(*schema)[key]});
}

// The schema's own keywords in their one form.
Json Normalize(const Json& schema) {
  Json result = Json::object();
  for (const auto& [name, value] : schema.items()) {
    if (IsAnnotation(name) || name == "$ref" || name == "allOf" || name == "anyOf" || name == "oneOf" ||
        name == "$defs" || name == "definitions" || name == "nullable" || name == "const") {
      continue;
    }
    result[name] = value;
  }
  for (const char* key : {"type", "pattern", "format"}) MakeList(&result, key);
  if (schema.value("nullable", false) && result.contains("type")) result["type"].push_back("null");
  if (schema.contains("const")) {
    const bool possible = !result.contains("enum") || std::find(result["enum"].begin(), result["enum"].end(),
                                                                schema["const"]) != result["enum"].end();
    result["enum"] = possible ? Json::array({schema["const"]}) : Json::array();
  }
  // Draft 4: {"minimum": 1, "exclusiveMinimum": true}.
  for (const auto& [exclusive, bound] :
       {std::pair{"exclusiveMinimum", "minimum"}, std::pair{"exclusiveMaximum", "maximum"}}) {
    if (!result.contains(exclusive) || !result[exclusive].is_boolean()) continue;
    const bool excluded = result[exclusive].get<bool>();
    result.erase(exclusive);
    if (!excluded || !result.contains(bound)) continue;
    result[exclusive] = result[bound];
    result.erase(bound);
  }
  // Tuples up to draft 2019-09.
  if (result.contains("items") && result["items"].is_array()) {
    result["prefixItems"] = result["items"];
    result.erase("items");
    if (result.contains("additionalItems")) result["items"] = result["additionalItems"];
  }
  result.erase("additionalItems");  // without a tuple it means nothing
  return result;
}

bool HasOneType(const Json& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  if (value.is_number_float())
    return std::abs(value.get<double>()) < 9e15 && value.get<double>() == std::floor(value.get<double>());
  return value.is_number_integer();
}

Json CommonTypes(const Json& a, const Json& b) {
  Json result = Json::array();
  const auto has = [](const Json& list, const char* type) {
    return std::find(list.begin(), list.end(), type) != list.end();
  };
  for (const Json& type : a) {
    const auto name = type.get<std::string>();
    if (has(b, name.c_str()) || (name == "integer" && has(b, "number"))) {
      result.push_back(type);
    } else if (name == "number" && has(b, "integer")) {
      result.push_back("integer");
    }
  }
  return result;
}

// `additional` of one side speaks about what only the other names.
void ApplyAdditional(const Json& from, Json* properties) {
  if (!from.contains("additionalProperties")) return;
  for (auto& [name, schema] : properties->items()) {
    if (from.contains("properties") && from["properties"].contains(name)) continue;
    schema = Both(schema, from["additionalProperties"]);
  }
}

Status MergeProperties(const Json& a, const Json& b, Json* result) {
  const bool has_patterns = a.contains("patternProperties") || b.contains("patternProperties");
  if (has_patterns && (a.contains("additionalProperties") || b.contains("additionalProperties"))) {
    return Fail("allOf: patternProperties together with additionalProperties is not supported");
  }
  Json first = a.value("properties", Json::object()), second = b.value("properties", Json::object());
  ApplyAdditional(b, &first);
  ApplyAdditional(a, &second);
  for (const auto& [name, schema] : second.items()) {
    first[name] = first.contains(name) ? Both(first[name], schema) : schema;
  }
  if (!first.empty()) (*result)["properties"] = first;
  if (a.contains("additionalProperties") && b.contains("additionalProperties")) {
    (*result)["additionalProperties"] = Both(a["additionalProperties"], b["additionalProperties"]);
  }
  return {};
}

void MergeItems(const Json& a, const Json& b, Json* result) {
  const Json x = a.value("prefixItems", Json::array()), y = b.value("prefixItems", Json::array());
  Json prefix = Json::array();
  for (size_t i = 0; i < std::max(x.size(), y.size()); ++i) {
    prefix.push_back(Both(i < x.size() ? x[i] : a.value("items", Json(true)),
                          i < y.size() ? y[i] : b.value("items", Json(true))));
  }
  if (!prefix.empty()) (*result)["prefixItems"] = prefix;
  if (a.contains("items") && b.contains("items")) (*result)["items"] = Both(a["items"], b["items"]);
}

Result<Json> MergeMultiples(const Json& a, const Json& b) {
  if (a == b) return a;
  const double x = a.get<double>(), y = b.get<double>();
  if (x == std::floor(x) && y == std::floor(y) && x < 1e9 && y < 1e9) {
    return Json(std::lcm(static_cast<int64_t>(x), static_cast<int64_t>(y)));
  }
  return Fail("allOf: multipleOf {} together with {} is not supported", a.dump(), b.dump());
}

// What both ask for; none where that is impossible.
Result<std::optional<Json>> Merge(const Json& a, const Json& b) {
  Json result = a;
  for (const auto& [name, value] : b.items()) {
    if (!result.contains(name)) {
      result[name] = value;
      continue;
    }
    Json& own = result[name];
    if (name == "type") {
      own = CommonTypes(own, value);
      if (own.empty()) return std::optional<Json>();
    } else if (name == "enum") {
      Json common = Json::array();
      for (const Json& x : own) {
        if (std::find(value.begin(), value.end(), x) != value.end()) common.push_back(x);
      }
      own = common;
    } else if (name == "pattern" || name == "format" || name == "required") {
      for (const Json& x : value) {
        if (std::find(own.begin(), own.end(), x) == own.end()) own.push_back(x);
      }
    } else if (name == "patternProperties") {
      for (const auto& [pattern, schema] : value.items()) {
        own[pattern] = own.contains(pattern) ? Both(own[pattern], schema) : schema;
      }
    } else if (name == "propertyNames") {
      own = Both(own, value);
    } else if (name == "multipleOf") {
      DS_ASSIGN(own, MergeMultiples(own, value));
    } else if (name.rfind("min", 0) == 0 || name == "exclusiveMinimum") {
      if (value > own) own = value;
    } else if (name.rfind("max", 0) == 0 || name == "exclusiveMaximum") {
      if (value < own) own = value;
    }
  }
  DS_RETURN_IF_ERROR(MergeProperties(a, b, &result));
  MergeItems(a, b, &result);
  return std::optional<Json>(std::move(result));
}

class Flattener {
 public:
  explicit Flattener(const Json& root) : root_(root) {}

  using Alternatives = std::vector<Json>;

  Result<Alternatives> Flatten(const Json& schema, int depth) {
    if (schema.is_boolean()) return schema.get<bool>() ? Alternatives{Json::object()} : Alternatives{};
    if (depth > kMaxSchemaDepth) return Fail("expected at most {} schemas in one another", kMaxSchemaDepth);
    if (++num_visited_ > kMaxVisited)
      return Fail("expected at most {} schemas behind references and allOf", kMaxVisited);
    Alternatives result = {Normalize(schema)};
    if (schema.contains("$ref")) {
      const auto text = schema["$ref"].get<std::string>();
      if (!open_.insert(text).second) return Fail("$ref: \"{}\" refers to itself", text);
      DS_ASSIGN(const Alternatives target, Flatten(root_.at(Json::json_pointer(text.substr(1))), depth + 1));
      open_.erase(text);
      DS_ASSIGN(result, Cross(result, target));
    }
    if (schema.contains("allOf")) {
      for (const Json& part : schema["allOf"]) {
        DS_ASSIGN(const Alternatives alternatives, Flatten(part, depth + 1));
        DS_ASSIGN(result, Cross(result, alternatives));
      }
    }
    for (const char* key : {"anyOf", "oneOf"}) {
      if (!schema.contains(key)) continue;
      Alternatives all;
      for (const Json& part : schema[key]) {
        DS_ASSIGN(const Alternatives alternatives, Flatten(part, depth + 1));
        all.insert(all.end(), alternatives.begin(), alternatives.end());
        if (all.size() > kMaxAlternatives) return TooMany();
      }
      DS_ASSIGN(result, Cross(result, all));
    }
    return result;
  }

 private:
  static Status TooMany() { return Fail("expected at most {} alternatives in one place", kMaxAlternatives); }

  static Result<Alternatives> Cross(const Alternatives& a, const Alternatives& b) {
    Alternatives result;
    if (a.size() * b.size() > kMaxAlternatives) return TooMany();
    for (const Json& x : a) {
      for (const Json& y : b) {
        DS_ASSIGN(std::optional<Json> merged, Merge(x, y));
        if (merged) result.push_back(std::move(*merged));
      }
    }
    return result;
  }

  static constexpr int kMaxVisited = 4096;  // {"allOf": [A, A]} with such an A, and so on

  const Json& root_;
  std::set<std::string> open_;
  int num_visited_ = 0;
};

}  // namespace

Result<std::vector<Json>> FlattenSchema(const Json& root, const Json& schema) {
  return Flattener(root).Flatten(schema, 0);
}

bool HasType(const Json& value, const Json& types) {
  return std::any_of(types.begin(), types.end(),
                     [&](const Json& type) { return HasOneType(value, type.get<std::string>()); });
}

}  // namespace deepshock
