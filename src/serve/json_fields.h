// SPDX-License-Identifier: Apache-2.0
// Reading the fields of a request's JSON: each function fills `out` or says what it expected of `param` and
// what it found. Numbers are checked for type and size, ranges are the caller's. Pure; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api_error.h"

namespace deepshock {

using FieldJson = nlohmann::ordered_json;  // templates print objects in the order in which they came

// An object, checked by ParseJson's limits, with the order of keys.
ApiStatus ParseBody(std::string_view body, FieldJson* out);

ApiStatus WrongType(const std::string& param, std::string_view expected, const FieldJson& found);

ApiStatus ReadField(const FieldJson& value, const std::string& param, bool* out);
ApiStatus ReadField(const FieldJson& value, const std::string& param, double* out);
ApiStatus ReadField(const FieldJson& value, const std::string& param, int64_t* out);
ApiStatus ReadField(const FieldJson& value, const std::string& param, std::string* out);
ApiStatus ReadField(const FieldJson& value, const std::string& param,
                    std::vector<std::string>* out);  // or one string
template <typename T>
ApiStatus ReadField(const FieldJson& value, const std::string& param, std::optional<T>* out) {
  return ReadField(value, param, &out->emplace());
}
ApiStatus ReadInteger(const FieldJson& value, const std::string& param, int64_t least, int64_t most,
                      int64_t* out);

// One of `names`; `out` is its index.
ApiStatus ReadChoice(const FieldJson& value, const std::string& param,
                     const std::vector<std::string_view>& names, size_t* out);

// What is done with a field, by its name. A null value counts as absent, and a field without an entry is
// refused by name; `prefix` stands before names in messages: "experts.".
using FieldReaders =
    std::map<std::string_view, std::function<ApiStatus(const FieldJson&, const std::string& param)>>;
ApiStatus ReadFields(const FieldJson& object, const std::string& prefix, const FieldReaders& readers);

// A reader for fields that change nothing here, whatever they hold.
ApiStatus IgnoreField(const FieldJson& value, const std::string& param);

}  // namespace deepshock
