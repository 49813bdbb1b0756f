// SPDX-License-Identifier: Apache-2.0
// Typed look-ups in config.json. Each error is one line: file, key, what was expected, what was found.
// A key whose value is null counts as absent, as Hugging Face writes unset options.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace deepshock {

// Bounds of every size that a file may declare. Generous (a thousand times what exists), and small enough
// that the product of any three fits int64_t.
constexpr int64_t kMaxSize = 1 << 20;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxContext = int64_t{1} << 40;

// A view of one JSON object; the parsed document must outlive it.
class Config {
 public:
  Config(const nlohmann::json& object, std::string where) : object_(&object), where_(std::move(where)) {}

  bool Has(std::string_view key) const;  // present and not null
  Result<int64_t> Int(std::string_view key, int64_t min, int64_t max) const;
  Result<int64_t> IntOr(std::string_view key, int64_t fallback, int64_t min, int64_t max) const;
  Result<int> Size(std::string_view key) const;  // in [1, kMaxSize]
  Result<int> SizeOr(std::string_view key, int fallback) const;
  Result<double> FloatOr(std::string_view key, double fallback, double min, double max) const;
  Result<double> Float(std::string_view key, double min, double max) const;
  Result<bool> BoolOr(std::string_view key, bool fallback) const;
  Result<std::string> StringOr(std::string_view key, std::string_view fallback) const;
  // One integer or a list of them; empty when absent.
  Result<std::vector<int64_t>> IntsOrNone(std::string_view key, int64_t min, int64_t max) const;
  Result<std::vector<std::string>> StringsOrNone(std::string_view key) const;
  // An object; Has(key) must hold.
  Result<Config> Object(std::string_view key) const;
  // Keys whose values are objects, in order.
  std::vector<std::string> ObjectKeys() const;

  // "config.json: key "x": expected A, found B"
  Status Expected(std::string_view key, std::string_view expected) const;
  // Fails unless the key is absent or false: for options that would need code of their own.
  Status RequireFalse(std::string_view key) const;

  const std::string& where() const { return where_; }

 private:
  const nlohmann::json* Find(std::string_view key) const;
  const nlohmann::json* object_;
  std::string where_;  // "config.json", or "config.json: rope_scaling"
};

}  // namespace deepshock
