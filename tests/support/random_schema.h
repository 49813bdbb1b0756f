// SPDX-License-Identifier: Apache-2.0
// Random JSON Schemas, and random values that one finds valid, written as a grammar writes them (properties
// in the order declared). The same seed gives the same.
#pragma once

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace deepshock {

class RandomSchema {
 public:
  using Json = nlohmann::ordered_json;
  explicit RandomSchema(uint32_t seed) : random_(seed) {}

  // An object or array, mostly.
  Json Schema() {
    Json schema = Below(6) == 0 ? Any(2) : Below(3) == 0 ? Array(2) : Object(2);
    if (!definitions_.empty()) schema["$defs"] = definitions_;
    return schema;
  }

  // Valid by `schema`, which came from here; `root` for its references.
  Json Value(const Json& root, const Json& schema, int depth = 0);

  size_t Below(size_t n) { return random_() % n; }

 private:
  static constexpr std::array<const char*, 12> kNames = {
      "name", "id", "a", "tags", "value", "x y", "é", "kind", "items", "n\"q", "next", "longer_name"};
  static constexpr std::array<const char*, 6> kWords = {"red", "green", "a\"b\\", "", "naïve", "line\nbreak"};
  static constexpr std::array<const char*, 5> kPatterns = {"^[a-z]{1,5}$", "^\\d{2}-\\d{2}$", "^(yes|no)$",
                                                           "^[A-Z][a-z]*$", "x"};
  static constexpr std::array<const char*, 5> kMatching = {"abc", "12-34", "no", "Word", "axb"};

  Json Any(int depth) {
    switch (Below(depth > 0 ? 12 : 8)) {
      case 0:
        return String();
      case 1:
        return Integer();
      case 2:
        return Number();
      case 3:
        return {{"type", "boolean"}};
      case 4:
        return {{"type", Json::array({"string", "null"})}};
      case 5:
        return Enum();
      case 6:
        return {{"const", Scalar()}};
      case 7:
        return String();
      case 8:
        return Array(depth - 1);
      case 9:
        return Choice(depth - 1);
      case 10:
        return Reference(depth - 1);
      default:
        return Object(depth - 1);
    }
  }

  Json Scalar() {
    switch (Below(4)) {
      case 0:
        return static_cast<int>(Below(200)) - 100;
      case 1:
        return kWords[Below(kWords.size())];
      case 2:
        return Below(2) == 0;
      default:
        return nullptr;
    }
  }

  Json Enum() {
    Json values = Json::array();
    for (size_t n = 1 + Below(4); n > 0; --n) values.push_back(Scalar());
    if (Below(4) == 0) values.push_back(Json{{"k", Json::array({1, "v"})}});
    return {{"enum", values}};
  }

  Json String() {
    Json schema = {{"type", "string"}};
    switch (Below(4)) {
      case 0:
        schema["pattern"] = kPatterns[Below(kPatterns.size())];
        break;
      case 1:
        schema["maxLength"] = 1 + Below(12);
        if (Below(2) == 0) schema["minLength"] = Below(2);
        break;
      case 2:
        schema["format"] = "date";
        break;
      default:
        if (Below(2) == 0) schema["minLength"] = Below(4);
    }
    return schema;
  }

  Json Integer() {
    Json schema = {{"type", "integer"}};
    const int low = static_cast<int>(Below(400)) - 200;
    if (Below(2) == 0) schema["minimum"] = low;
    if (Below(2) == 0)
      schema[Below(2) == 0 ? "maximum" : "exclusiveMaximum"] = low + 20 + static_cast<int>(Below(1000));
    if (Below(4) == 0) schema["multipleOf"] = 1 + Below(9);
    return schema;
  }

  Json Number() {
    Json schema = {{"type", "number"}};
    const double low = static_cast<double>(Below(4000)) / 16 - 100;
    if (Below(2) == 0) schema[Below(2) == 0 ? "minimum" : "exclusiveMinimum"] = low;
    if (Below(2) == 0) schema["maximum"] = low + 1 + static_cast<double>(Below(100)) / 8;
    return schema;
  }

  Json Array(int depth) {
    Json schema = {{"type", "array"}};
    if (Below(4) == 0) {
      schema["prefixItems"] = Json::array({Any(depth), Any(depth)});
      schema["items"] = Below(2) == 0 ? Json(false) : Any(depth);
    } else {
      schema["items"] = Any(depth);
    }
    if (Below(2) == 0) schema["minItems"] = Below(3);
    if (Below(2) == 0) schema["maxItems"] = 2 + Below(3);
    return schema;
  }

  Json Object(int depth) {
    Json properties = Json::object(), required = Json::array();
    for (size_t n = Below(5); n > 0; --n) {
      const std::string name = kNames[Below(kNames.size())];
      properties[name] = Any(depth);
    }
    for (const auto& [name, schema] : properties.items()) {
      if (Below(2) == 0) required.push_back(name);
    }
    Json schema = {{"type", "object"}, {"properties", properties}};
    if (!required.empty()) schema["required"] = required;
    switch (Below(4)) {
      case 0:
        schema["additionalProperties"] = Any(0);
        schema["maxProperties"] = properties.size() + 2;
        break;
      case 1:
        if (!properties.empty()) schema["minProperties"] = 1;
        schema["additionalProperties"] = false;
        break;
      case 2:
        schema["additionalProperties"] = false;
        break;
      default:
        break;
    }
    return schema;
  }

  Json Choice(int depth) {
    if (Below(3) == 0) {
      // Said in two parts.
      return {{"allOf",
               Json::array({Json{{"type", "integer"}, {"minimum", 3}}, Json{{"maximum", 40 + Below(50)}}})}};
    }
    Json parts = Json::array();
    for (size_t n = 2 + Below(2); n > 0; --n) parts.push_back(Any(depth));
    return {{Below(2) == 0 ? "anyOf" : "oneOf", parts}};
  }

  Json Reference(int depth) {
    const std::string name = "d" + std::to_string(definitions_.size());
    const Json reference = {{"$ref", "#/$defs/" + name}};
    definitions_[name] = nullptr;
    if (Below(2) == 0) {
      definitions_[name] = Any(depth);
    } else {
      // A list that ends somewhere.
      definitions_[name] = {
          {"type", "object"},
          {"properties",
           {{"v", Any(0)}, {"next", {{"anyOf", Json::array({reference, Json{{"type", "null"}}})}}}}},
          {"required", Json::array({"v", "next"})},
          {"additionalProperties", false}};
    }
    return reference;
  }

  Json StringValue(const Json& schema);
  Json NumberValue(const Json& schema, bool integer);

  std::mt19937 random_;
  Json definitions_ = Json::object();
};

inline nlohmann::ordered_json RandomSchema::StringValue(const Json& schema) {
  if (schema.contains("format")) return Below(2) == 0 ? "2024-02-29" : "1999-12-31";
  if (schema.contains("pattern")) {
    for (size_t i = 0; i < kPatterns.size(); ++i) {
      if (schema["pattern"] == kPatterns[i]) return kMatching[i];
    }
  }
  static const std::array<const char*, 9> characters = {"a", "Z", " ", "\"", "\\", "é", "中", "😀", "\n"};
  const size_t least = schema.value("minLength", 0), most = schema.value("maxLength", least + 9);
  std::string text;
  for (size_t n = least + Below(most - least + 1); n > 0; --n) text += characters[Below(characters.size())];
  return text;
}

inline nlohmann::ordered_json RandomSchema::NumberValue(const Json& schema, bool integer) {
  double low = schema.value("minimum", schema.value("exclusiveMinimum", -1e3));
  double high = schema.value("maximum", schema.value("exclusiveMaximum", std::max(low, 0.0) + 1e3));
  if (!schema.contains("minimum") && !schema.contains("exclusiveMinimum")) low = high - 1e3;
  if (integer) {
    const int step = schema.value("multipleOf", 1);
    std::vector<int> fitting;
    for (int x = static_cast<int>(low); x <= static_cast<int>(high); ++x) {
      const bool in = x % step == 0 && (!schema.contains("exclusiveMaximum") || x < high) && x >= low;
      if (in) fitting.push_back(x);
    }
    return fitting[Below(fitting.size())];
  }
  // Between the bounds, in sixteenths.
  const auto room = static_cast<size_t>((high - low) * 16);
  return low + static_cast<double>(1 + Below(room - 1)) / 16;
}

inline nlohmann::ordered_json RandomSchema::Value(const Json& root, const Json& schema, int depth) {
  if (schema.contains("enum")) return schema["enum"][Below(schema["enum"].size())];
  if (schema.contains("const")) return schema["const"];
  if (schema.contains("$ref")) {
    return Value(root, root.at(Json::json_pointer(schema["$ref"].get<std::string>().substr(1))), depth + 1);
  }
  if (schema.contains("allOf")) {
    return 3 + static_cast<int>(Below(schema["allOf"][1]["maximum"].get<size_t>() - 2));
  }
  for (const char* key : {"anyOf", "oneOf"}) {
    if (!schema.contains(key)) continue;
    // The last ends recursion.
    const Json& parts = schema[key];
    return Value(root, depth > 6 ? parts.back() : parts[Below(parts.size())], depth + 1);
  }
  std::string type = schema["type"].is_array() ? schema["type"][Below(2)].get<std::string>()
                                               : schema["type"].get<std::string>();
  if (type == "null") return nullptr;
  if (type == "boolean") return Below(2) == 0;
  if (type == "string") return StringValue(schema);
  if (type == "integer" || type == "number") return NumberValue(schema, type == "integer");
  if (type == "array") {
    const size_t num_prefix = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
    const size_t least = schema.value("minItems", 0);
    size_t most = schema.value("maxItems", least + 3);
    if (schema["items"] == false) most = std::min(most, num_prefix);
    Json value = Json::array();
    for (size_t i = 0, n = least + Below(most - least + 1); i < n; ++i) {
      value.push_back(Value(root, i < num_prefix ? schema["prefixItems"][i] : schema["items"], depth + 1));
    }
    return value;
  }
  Json value = Json::object();
  const Json required = schema.value("required", Json::array());
  for (const auto& [name, child] : schema["properties"].items()) {
    const bool needed = std::find(required.begin(), required.end(), name) != required.end();
    const bool wanted = needed || Below(2) == 0 || (schema.contains("minProperties") && value.empty());
    if (wanted) value[name] = Value(root, child, depth + 1);
  }
  if (schema.contains("additionalProperties") && schema["additionalProperties"].is_object() &&
      Below(2) == 0) {
    value["other"] = Value(root, schema["additionalProperties"], depth + 1);
  }
  return value;
}

}  // namespace deepshock
