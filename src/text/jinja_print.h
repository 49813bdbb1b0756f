// SPDX-License-Identifier: Apache-2.0
// Values as text: Python's str() and repr(), JSON out (json.dumps) and JSON in.
// Pure but for the budget; past a limit the text is cut short and the budget refuses.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "text/jinja_value.h"

namespace deepshock::jinja {

std::string Str(const Value& value, Budget* budget);
std::string Repr(const Value& value, Budget* budget);

// The arguments of json.dumps that Hugging Face's tojson passes on.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // what one level adds; none: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
Result<std::string> ToJson(const Value& value, const JsonStyle& style, Budget* budget);

// Fails on invalid UTF-8, integers beyond 64 bits and excessive nesting.
Result<Value> FromJson(const nlohmann::ordered_json& json, Budget* budget);

}  // namespace deepshock::jinja
