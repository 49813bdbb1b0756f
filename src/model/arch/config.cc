// SPDX-License-Identifier: Apache-2.0
#include "model/arch/config.h"

#include <cmath>
#include <limits>

#include "base/json.h"

namespace deepshock {
namespace {

// At most 60 characters of the value as JSON: enough to recognise it, never a screenful.
std::string Show(const Json* value) {
  if (value == nullptr) return "nothing";
  constexpr size_t kMaxShown = 60;
  if (value->is_object()) return "an object";
  if (value->is_array()) return fmt::format("a list of {}", value->size());
  std::string text = value->dump(-1, ' ', true);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

// Integers only: 4096.0 is not one, as no published config writes sizes so.
bool AsInt(const Json& value, int64_t* out) {
  if (value.is_number_unsigned()) {
    const auto u = value.get<uint64_t>();
    if (u > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
    *out = static_cast<int64_t>(u);
    return true;
  }
  if (!value.is_number_integer()) return false;
  *out = value.get<int64_t>();
  return true;
}

std::string IntRange(int64_t min, int64_t max) { return fmt::format("an integer from {} to {}", min, max); }

}  // namespace

const Json* Config::Find(std::string_view key) const {
  const auto it = object_->find(std::string(key));
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

bool Config::Has(std::string_view key) const { return Find(key) != nullptr; }

Status Config::Expected(std::string_view key, std::string_view expected) const {
  return Fail("{}: key \"{}\": expected {}, found {}", where_, key, expected, Show(Find(key)));
}

Result<int64_t> Config::Int(std::string_view key, int64_t min, int64_t max) const {
  const Json* value = Find(key);
  int64_t i = 0;
  if (value == nullptr || !AsInt(*value, &i) || i < min || i > max) return Expected(key, IntRange(min, max));
  return i;
}

Result<int64_t> Config::IntOr(std::string_view key, int64_t fallback, int64_t min, int64_t max) const {
  if (!Has(key)) return fallback;
  return Int(key, min, max);
}

Result<int> Config::Size(std::string_view key) const {
  DS_ASSIGN(const int64_t i, Int(key, 1, kMaxSize));
  return static_cast<int>(i);
}

Result<int> Config::SizeOr(std::string_view key, int fallback) const {
  if (!Has(key)) return fallback;
  return Size(key);
}

Result<double> Config::Float(std::string_view key, double min, double max) const {
  const Json* value = Find(key);
  if (value == nullptr || !value->is_number()) return Expected(key, "a number");
  const double f = value->get<double>();
  if (!(f >= min && f <= max)) return Expected(key, fmt::format("a number from {} to {}", min, max));
  return f;
}

Result<double> Config::FloatOr(std::string_view key, double fallback, double min, double max) const {
  if (!Has(key)) return fallback;
  return Float(key, min, max);
}

Result<bool> Config::BoolOr(std::string_view key, bool fallback) const {
  const Json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return Expected(key, "true or false");
  return value->get<bool>();
}

Result<std::string> Config::StringOr(std::string_view key, std::string_view fallback) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) return Expected(key, "a string");
  return value->get<std::string>();
}

Result<std::vector<int64_t>> Config::IntsOrNone(std::string_view key, int64_t min, int64_t max) const {
  const Json* value = Find(key);
  std::vector<int64_t> out;
  if (value == nullptr) return out;
  int64_t i = 0;
  if (!value->is_array()) {
    if (!AsInt(*value, &i) || i < min || i > max)
      return Expected(key, IntRange(min, max) + " or a list of them");
    return std::vector<int64_t>{i};
  }
  for (const Json& item : *value) {
    if (!AsInt(item, &i) || i < min || i > max) {
      return Fail("{}: key \"{}\", item {}: expected {}, found {}", where_, key, out.size(),
                  IntRange(min, max), Show(&item));
    }
    out.push_back(i);
  }
  return out;
}

Result<std::vector<std::string>> Config::StringsOrNone(std::string_view key) const {
  const Json* value = Find(key);
  std::vector<std::string> out;
  if (value == nullptr) return out;
  if (!value->is_array()) return Expected(key, "a list of strings");
  for (const Json& item : *value) {
    if (!item.is_string()) {
      return Fail("{}: key \"{}\", item {}: expected a string, found {}", where_, key, out.size(),
                  Show(&item));
    }
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<Config> Config::Object(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr || !value->is_object()) return Expected(key, "an object");
  return Config(*value, fmt::format("{}: {}", where_, key));
}

std::vector<std::string> Config::ObjectKeys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_->items()) {
    if (value.is_object()) keys.push_back(key);
  }
  return keys;
}

Status Config::RequireFalse(std::string_view key) const {
  DS_ASSIGN(const bool value, BoolOr(key, false));
  return value ? Expected(key, "false (true is not supported for this family)") : Status();
}

}  // namespace deepshock
