// SPDX-License-Identifier: Apache-2.0
#include "grammar/schema_check.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace deepshock {
namespace {

using Json = nlohmann::ordered_json;

enum class Kind {
  kAnnotation,
  kSchema,      // a subschema
  kSchemaList,  // a list of at least one
  kSchemaMap,   // by name
  kItems,       // a subschema, or a list as up to draft 2019-09
  kCount,       // an integer of at least 0
  kNumber,
  kPositive,   // a number above 0
  kExclusive,  // a number; true or false in draft 4
  kString,
  kStringList,
  kBool,
  kType,
  kAny,
  kAnyList,
  kReference,
  kOnlyFalse,  // what `true` asks for is not supported
  kUnsupported,
};

struct Keyword {
  std::string_view name;
  Kind kind;
};

// JSON Schema 2020-12, what remains in use of drafts 4 to 2019-09, and OpenAPI 3.0's dialect.
constexpr std::array kKeywords = {
    Keyword{"type", Kind::kType},
    Keyword{"properties", Kind::kSchemaMap},
    Keyword{"required", Kind::kStringList},
    Keyword{"additionalProperties", Kind::kSchema},
    Keyword{"patternProperties", Kind::kSchemaMap},
    Keyword{"propertyNames", Kind::kSchema},
    Keyword{"minProperties", Kind::kCount},
    Keyword{"maxProperties", Kind::kCount},
    Keyword{"items", Kind::kItems},
    Keyword{"prefixItems", Kind::kSchemaList},
    Keyword{"additionalItems", Kind::kSchema},
    Keyword{"minItems", Kind::kCount},
    Keyword{"maxItems", Kind::kCount},
    Keyword{"uniqueItems", Kind::kOnlyFalse},
    Keyword{"enum", Kind::kAnyList},
    Keyword{"const", Kind::kAny},
    Keyword{"anyOf", Kind::kSchemaList},
    Keyword{"oneOf", Kind::kSchemaList},
    Keyword{"allOf", Kind::kSchemaList},
    Keyword{"$ref", Kind::kReference},
    Keyword{"$defs", Kind::kSchemaMap},
    Keyword{"definitions", Kind::kSchemaMap},
    Keyword{"minLength", Kind::kCount},
    Keyword{"maxLength", Kind::kCount},
    Keyword{"pattern", Kind::kString},
    Keyword{"format", Kind::kString},
    Keyword{"minimum", Kind::kNumber},
    Keyword{"maximum", Kind::kNumber},
    Keyword{"exclusiveMinimum", Kind::kExclusive},
    Keyword{"exclusiveMaximum", Kind::kExclusive},
    Keyword{"multipleOf", Kind::kPositive},
    Keyword{"nullable", Kind::kBool},
    Keyword{"title", Kind::kAnnotation},
    Keyword{"description", Kind::kAnnotation},
    Keyword{"default", Kind::kAnnotation},
    Keyword{"example", Kind::kAnnotation},
    Keyword{"examples", Kind::kAnnotation},
    Keyword{"$schema", Kind::kAnnotation},
    Keyword{"$comment", Kind::kAnnotation},
    Keyword{"deprecated", Kind::kAnnotation},
    Keyword{"readOnly", Kind::kAnnotation},
    Keyword{"writeOnly", Kind::kAnnotation},
    Keyword{"contentEncoding", Kind::kAnnotation},
    Keyword{"contentMediaType", Kind::kAnnotation},
    Keyword{"contentSchema", Kind::kAnnotation},
    Keyword{"discriminator", Kind::kAnnotation},
    Keyword{"externalDocs", Kind::kAnnotation},
    Keyword{"xml", Kind::kAnnotation},
    Keyword{"not", Kind::kUnsupported},
    Keyword{"if", Kind::kUnsupported},
    Keyword{"then", Kind::kUnsupported},
    Keyword{"else", Kind::kUnsupported},
    Keyword{"contains", Kind::kUnsupported},
    Keyword{"minContains", Kind::kUnsupported},
    Keyword{"maxContains", Kind::kUnsupported},
    Keyword{"dependencies", Kind::kUnsupported},
    Keyword{"dependentRequired", Kind::kUnsupported},
    Keyword{"dependentSchemas", Kind::kUnsupported},
    Keyword{"unevaluatedItems", Kind::kUnsupported},
    Keyword{"unevaluatedProperties", Kind::kUnsupported},
    Keyword{"$anchor", Kind::kUnsupported},
    Keyword{"$dynamicAnchor", Kind::kUnsupported},
    Keyword{"$dynamicRef", Kind::kUnsupported},
    Keyword{"$recursiveAnchor", Kind::kUnsupported},
    Keyword{"$recursiveRef", Kind::kUnsupported},
    Keyword{"$vocabulary", Kind::kUnsupported},
};

constexpr std::array<std::string_view, 7> kTypes = {"string", "integer", "number", "object",
                                                    "array",  "boolean", "null"};

const Keyword* FindKeyword(std::string_view name) {
  const auto at = std::find_if(kKeywords.begin(), kKeywords.end(),
                               [&](const Keyword& keyword) { return keyword.name == name; });
  return at == kKeywords.end() ? nullptr : at;
}

std::string Show(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + "...";
  return text;
}

class Checker {
 public:
  explicit Checker(const Json& root) : root_(root) {}

  Status Check(const Json& schema, const std::string& pointer, int depth) {
    if (depth > kMaxSchemaDepth)
      return Fail("{}: expected at most {} nested schemas", pointer, kMaxSchemaDepth);
    DS_RETURN_IF_ERROR(Count(pointer));
    if (schema.is_boolean()) return {};
    if (!schema.is_object()) return Wrong(pointer, "a schema: an object, true or false", schema);
    for (const auto& [name, value] : schema.items()) {
      const std::string here = Under(pointer, name);
      DS_RETURN_IF_ERROR(Count(here));
      if (name == "$id" || name == "id") {
        if (depth > 0) return Fail("{}: not supported below the root", here);
        continue;
      }
      if (name.rfind("x-", 0) == 0) continue;
      const Keyword* keyword = FindKeyword(name);
      if (keyword == nullptr) return Fail("{}: unknown keyword", here);
      DS_RETURN_IF_ERROR(CheckValue(keyword->kind, value, here, depth));
    }
    return {};
  }

 private:
  static Status Wrong(const std::string& pointer, std::string_view expected, const Json& found) {
    return Fail("{}: expected {}, found {}", pointer, expected, Show(found));
  }
  Status Count(const std::string& pointer) {
    if (++num_values_ <= kMaxSchemaValues) return {};
    return Fail("{}: expected a schema of at most {} values", pointer, kMaxSchemaValues);
  }
  // Of values that are not schemas.
  Status CountAll(const Json& value, const std::string& pointer, int depth) {
    DS_RETURN_IF_ERROR(Count(pointer));
    if (depth > kMaxSchemaDepth) return Fail("{}: expected at most {} levels", pointer, kMaxSchemaDepth);
    if (!value.is_structured()) return {};
    for (const Json& child : value) DS_RETURN_IF_ERROR(CountAll(child, pointer, depth + 1));
    return {};
  }

  Status CheckValue(Kind kind, const Json& value, const std::string& pointer, int depth) {
    switch (kind) {
      case Kind::kAnnotation:
        return {};
      case Kind::kSchema:
        return Check(value, pointer, depth + 1);
      case Kind::kItems:
        if (!value.is_array()) return Check(value, pointer, depth + 1);
        return CheckList(value, pointer, depth);
      case Kind::kSchemaList:
        if (!value.is_array() || value.empty()) return Wrong(pointer, "a list of at least one schema", value);
        return CheckList(value, pointer, depth);
      case Kind::kSchemaMap:
        if (!value.is_object()) return Wrong(pointer, "an object of schemas", value);
        for (const auto& [name, schema] : value.items()) {
          DS_RETURN_IF_ERROR(Check(schema, Under(pointer, name), depth + 1));
        }
        return {};
      case Kind::kCount: {
        const bool whole = value.is_number() && value.get<double>() >= 0 && value.get<double>() <= 9e15 &&
                           value.get<double>() == static_cast<double>(value.get<int64_t>());
        return whole ? Status() : Wrong(pointer, "an integer of at least 0", value);
      }
      case Kind::kNumber:
        return value.is_number() ? Status() : Wrong(pointer, "a number", value);
      case Kind::kPositive:
        return value.is_number() && value.get<double>() > 0 ? Status()
                                                            : Wrong(pointer, "a number above 0", value);
      case Kind::kExclusive:
        return value.is_number() || value.is_boolean() ? Status() : Wrong(pointer, "a number", value);
      case Kind::kString:
        return value.is_string() ? Status() : Wrong(pointer, "a string", value);
      case Kind::kStringList:
        if (!value.is_array()) return Wrong(pointer, "a list of strings", value);
        for (const Json& name : value) {
          if (!name.is_string()) return Wrong(pointer, "a list of strings", value);
        }
        return CountAll(value, pointer, depth);
      case Kind::kBool:
        return value.is_boolean() ? Status() : Wrong(pointer, "true or false", value);
      case Kind::kType:
        return CheckType(value, pointer);
      case Kind::kAny:
        return CountAll(value, pointer, depth);
      case Kind::kAnyList:
        if (!value.is_array() || value.empty()) return Wrong(pointer, "a list of at least one value", value);
        return CountAll(value, pointer, depth);
      case Kind::kReference:
        return CheckReference(value, pointer);
      case Kind::kOnlyFalse:
        if (value.is_boolean() && !value.get<bool>()) return {};
        return Fail("{}: not supported", pointer);
      case Kind::kUnsupported:
        return Fail("{}: not supported", pointer);
    }
    return {};
  }

  Status CheckList(const Json& list, const std::string& pointer, int depth) {
    for (size_t i = 0; i < list.size(); ++i) {
      DS_RETURN_IF_ERROR(Check(list[i], Under(pointer, std::to_string(i)), depth + 1));
    }
    return {};
  }

  static Status CheckType(const Json& value, const std::string& pointer) {
    const auto known = [](const Json& name) {
      return name.is_string() &&
             std::find(kTypes.begin(), kTypes.end(), name.get<std::string>()) != kTypes.end();
    };
    const bool right =
        value.is_array() ? !value.empty() && std::all_of(value.begin(), value.end(), known) : known(value);
    return right ? Status()
                 : Wrong(pointer, "string, integer, number, object, array, boolean or null", value);
  }

  Status CheckReference(const Json& value, const std::string& pointer) const {
    if (!value.is_string()) return Wrong(pointer, "a string", value);
    const auto text = value.get<std::string>();
    if (text != "#" && text.rfind("#/", 0) != 0) {
      return Wrong(pointer, "a reference into this schema, \"#/...\"", value);
    }
    if (text.find('%') != std::string::npos) return Wrong(pointer, "a reference without %-escapes", value);
    try {
      const Json& target = root_.at(Json::json_pointer(text.substr(1)));
      if (!target.is_object() && !target.is_boolean())
        return Wrong(pointer, "a reference to a schema", value);
    } catch (const Json::exception&) {
      return Wrong(pointer, "a reference to a part of this schema", value);
    }
    return {};
  }

  const Json& root_;
  int64_t num_values_ = 0;
};

}  // namespace

std::string Under(const std::string& pointer, std::string_view step) {
  std::string result = pointer + "/";
  for (const char c : step) {
    if (c == '~') {
      result += "~0";
    } else if (c == '/') {
      result += "~1";
    } else {
      result += c;
    }
  }
  return result;
}

bool IsAnnotation(std::string_view keyword) {
  if (keyword.rfind("x-", 0) == 0 || keyword == "$id" || keyword == "id") return true;
  const Keyword* found = FindKeyword(keyword);
  return found != nullptr && (found->kind == Kind::kAnnotation || found->kind == Kind::kOnlyFalse);
}

Status CheckSchema(const nlohmann::ordered_json& schema) { return Checker(schema).Check(schema, "", 0); }

}  // namespace deepshock
