// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer_fields.h"

#include "base/json.h"

namespace deepshock {

bool IsAbsent(const Json& object, const char* key) {
  return !object.is_object() || !object.contains(key) || object[key].is_null();
}

Result<std::string> ReadString(const Json& object, const char* key, const std::string& where) {
  if (IsAbsent(object, key) || !object[key].is_string())
    return Fail("{}: expected a string \"{}\"", where, key);
  return object[key].get<std::string>();
}

Result<bool> ReadBool(const Json& object, const char* key, bool fallback, const std::string& where) {
  if (IsAbsent(object, key)) return fallback;
  if (!object[key].is_boolean()) return Fail("{}: expected true or false for \"{}\"", where, key);
  return object[key].get<bool>();
}

Result<int64_t> ReadInteger(const Json& object, const char* key, int64_t low, int64_t high,
                            const std::string& where) {
  if (IsAbsent(object, key) || !object[key].is_number_integer()) {
    return Fail("{}: expected an integer \"{}\"", where, key);
  }
  const int64_t value = object[key].get<int64_t>();
  if (value < low || value > high) {
    return Fail("{}: expected \"{}\" between {} and {}, found {}", where, key, low, high, value);
  }
  return value;
}

Result<const Json*> ReadParts(const Json& object, const char* key, int depth, const std::string& where) {
  if (depth >= kMaxComponentDepth)
    return Fail("{}: expected at most {} nested levels", where, kMaxComponentDepth);
  if (IsAbsent(object, key) || !object[key].is_array() || object[key].size() > kMaxComponents) {
    return Fail("{}: expected an array \"{}\" of at most {} parts", where, key, kMaxComponents);
  }
  return &object[key];
}

}  // namespace deepshock
