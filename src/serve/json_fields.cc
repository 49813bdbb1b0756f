// SPDX-License-Identifier: Apache-2.0
#include "serve/json_fields.h"

#include <algorithm>

#include "base/json.h"

namespace deepshock {

ApiStatus ParseBody(std::string_view body, FieldJson* out) {
  // Checked first (depth, keys that occur twice), then read again with the order of keys.
  const Result<Json> checked = ParseJson(body);
  if (!checked.ok())
    return ApiError{400, "the body is not the JSON expected: " + checked.message(), "", "invalid_json"};
  if (!checked->is_object()) {
    return ApiError{400, fmt::format("expected a JSON object as the body, found {}", checked->type_name()),
                    "", "invalid_json"};
  }
  *out = FieldJson::parse(body, nullptr, false);
  return {};
}

ApiStatus WrongType(const std::string& param, std::string_view expected, const FieldJson& found) {
  ApiError error = InvalidField(param, "expected {}, found {}", expected, found.type_name());
  error.code = "invalid_type";
  return error;
}

ApiStatus ReadField(const FieldJson& value, const std::string& param, bool* out) {
  if (!value.is_boolean()) return WrongType(param, "true or false", value);
  *out = value.get<bool>();
  return {};
}

ApiStatus ReadField(const FieldJson& value, const std::string& param, double* out) {
  if (!value.is_number()) return WrongType(param, "a number", value);
  *out = value.get<double>();
  return {};
}

ApiStatus ReadField(const FieldJson& value, const std::string& param, int64_t* out) {
  return ReadInteger(value, param, INT64_MIN, INT64_MAX, out);
}

ApiStatus ReadField(const FieldJson& value, const std::string& param, std::string* out) {
  if (!value.is_string()) return WrongType(param, "a string", value);
  *out = value.get<std::string>();
  return {};
}

ApiStatus ReadField(const FieldJson& value, const std::string& param, std::vector<std::string>* out) {
  out->clear();
  if (value.is_string()) {
    out->push_back(value.get<std::string>());
    return {};
  }
  if (!value.is_array()) return WrongType(param, "a string or a list of strings", value);
  for (size_t i = 0; i < value.size(); ++i) {
    if (!value[i].is_string()) return WrongType(fmt::format("{}[{}]", param, i), "a string", value[i]);
    out->push_back(value[i].get<std::string>());
  }
  return {};
}

ApiStatus ReadInteger(const FieldJson& value, const std::string& param, int64_t least, int64_t most,
                      int64_t* out) {
  // Numbers past int64 are kept unsigned or as floating point by the parser; 1.0 is no integer.
  if (!value.is_number_integer()) return WrongType(param, "an integer", value);
  const bool too_large =
      value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = too_large ? INT64_MAX : value.get<int64_t>();
  if (number < least || number > most || too_large) {
    if (most == INT64_MAX)
      return InvalidField(param, "expected an integer of {} or more, found {}", least, value.dump());
    return InvalidField(param, "expected an integer from {} to {}, found {}", least, most, value.dump());
  }
  *out = number;
  return {};
}

ApiStatus ReadChoice(const FieldJson& value, const std::string& param,
                     const std::vector<std::string_view>& names, size_t* out) {
  std::string expected;
  for (const std::string_view name : names)
    expected += fmt::format("{}\"{}\"", expected.empty() ? "" : " or ", name);
  std::string found;
  if (!value.is_string()) return WrongType(param, expected, value);
  found = value.get<std::string>();
  const auto at = std::find(names.begin(), names.end(), found);
  if (at == names.end()) return InvalidField(param, "expected {}, found \"{}\"", expected, found);
  *out = static_cast<size_t>(at - names.begin());
  return {};
}

ApiStatus ReadFields(const FieldJson& object, const std::string& prefix, const FieldReaders& readers) {
  for (const auto& [key, value] : object.items()) {
    const auto reader = readers.find(key);
    if (reader == readers.end()) {
      ApiError error = InvalidField(prefix + key, "unknown parameter");
      error.code = "unknown_parameter";
      return error;
    }
    if (value.is_null()) continue;
    if (ApiStatus error = reader->second(value, prefix + key)) return error;
  }
  return {};
}

ApiStatus IgnoreField(const FieldJson&, const std::string&) { return {}; }

}  // namespace deepshock
