// SPDX-License-Identifier: Apache-2.0
// A small JSON Schema validator, for tests of what the grammars let through: it knows values, not grammars,
// and shares nothing with them. Knows the keywords that tests/support/random_schema.h writes; any other fails
// the test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>

namespace deepshock {

class JsonValidator {
 public:
  using Json = nlohmann::ordered_json;
  explicit JsonValidator(const Json& root) : root_(root) {}

  bool Valid(const Json& value) const { return Valid(root_, value); }

 private:
  static bool IsType(const Json& value, const std::string& type) {
    if (type == "integer") {
      return value.is_number_integer() ||
             (value.is_number_float() && value == std::floor(value.get<double>()));
    }
    return type == (value.is_number() ? "number" : value.is_boolean() ? "boolean" : value.type_name());
  }

  static size_t Length(const std::string& text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  }

  bool Valid(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    for (const auto& [key, argument] : schema.items()) {
      if (!Holds(schema, key, argument, value)) return false;
    }
    return true;
  }

  bool Holds(const Json& schema, const std::string& key, const Json& x, const Json& value) const {
    const auto valid = [&](const Json& part) { return Valid(part, value); };
    if (key == "type") {
      if (x.is_string()) return IsType(value, x.get<std::string>());
      return std::any_of(x.begin(), x.end(),
                         [&](const Json& type) { return IsType(value, type.get<std::string>()); });
    }
    if (key == "enum") return std::find(x.begin(), x.end(), value) != x.end();
    if (key == "const") return x == value;
    if (key == "anyOf") return std::any_of(x.begin(), x.end(), valid);
    if (key == "oneOf") return std::any_of(x.begin(), x.end(), valid);  // as the grammars read it
    if (key == "allOf") return std::all_of(x.begin(), x.end(), valid);
    if (key == "$ref") return Valid(root_.at(Json::json_pointer(x.get<std::string>().substr(1))), value);
    if (key == "$defs" || key == "title" || key == "description") return true;
    if (key == "minimum") return !value.is_number() || value >= x;
    if (key == "maximum") return !value.is_number() || value <= x;
    if (key == "exclusiveMinimum") return !value.is_number() || value > x;
    if (key == "exclusiveMaximum") return !value.is_number() || value < x;
    if (key == "multipleOf" && value.is_number_integer() && x.is_number_integer()) {
      return value.get<int64_t>() % x.get<int64_t>() == 0;
    }
    if (key == "multipleOf")
      return !value.is_number() || std::fmod(value.get<double>(), x.get<double>()) == 0;
    if (key == "minLength") return !value.is_string() || Length(value.get<std::string>()) >= x.get<size_t>();
    if (key == "maxLength") return !value.is_string() || Length(value.get<std::string>()) <= x.get<size_t>();
    if (key == "pattern") {
      return !value.is_string() ||
             std::regex_search(value.get<std::string>(), std::regex(x.get<std::string>()));
    }
    if (key == "format") {
      return !value.is_string() || x != "date" ||
             std::regex_match(value.get<std::string>(), std::regex("\\d{4}-\\d\\d-\\d\\d"));
    }
    return value.is_array() ? HoldsOfArray(schema, key, x, value) : HoldsOfObject(schema, key, x, value);
  }

  bool HoldsOfArray(const Json& schema, const std::string& key, const Json& x, const Json& value) const {
    const size_t num_prefix = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
    if (key == "minItems") return value.size() >= x.get<size_t>();
    if (key == "maxItems") return value.size() <= x.get<size_t>();
    if (key == "items") {
      for (size_t i = num_prefix; i < value.size(); ++i) {
        if (!Valid(x, value[i])) return false;
      }
    } else if (key == "prefixItems") {
      for (size_t i = 0; i < std::min(x.size(), value.size()); ++i) {
        if (!Valid(x[i], value[i])) return false;
      }
    } else {
      return IsOfObjects(key);
    }
    return true;
  }

  bool HoldsOfObject(const Json& schema, const std::string& key, const Json& x, const Json& value) const {
    if (!value.is_object())
      return IsOfObjects(key) || key == "items" || key == "prefixItems" || key == "minItems" ||
             key == "maxItems";
    if (key == "minProperties") return value.size() >= x.get<size_t>();
    if (key == "maxProperties") return value.size() <= x.get<size_t>();
    if (key == "required") {
      return std::all_of(x.begin(), x.end(),
                         [&](const Json& name) { return value.contains(name.get<std::string>()); });
    }
    for (const auto& [name, child] : value.items()) {
      const bool declared = schema.contains("properties") && schema["properties"].contains(name);
      if (key == "properties" && declared && !Valid(x[name], child)) return false;
      if (key == "additionalProperties" && !declared && !Valid(x, child)) return false;
    }
    return IsOfObjects(key);
  }

  static bool IsOfObjects(const std::string& key) {
    const bool known = key == "properties" || key == "required" || key == "additionalProperties" ||
                       key == "minProperties" || key == "maxProperties";
    EXPECT_TRUE(known || key == "items" || key == "prefixItems" || key == "minItems" || key == "maxItems")
        << "the validator does not know " << key;
    return true;
  }

  const Json& root_;
};

}  // namespace deepshock
