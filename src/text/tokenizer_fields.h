// SPDX-License-Identifier: Apache-2.0
// Reading fields of tokenizer.json objects with messages that name object and field. For .cc files of this
// folder.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"

namespace deepshock {

constexpr int kMaxComponentDepth = 8;   // Sequence in Sequence
constexpr size_t kMaxComponents = 256;  // of one Sequence

// Whether `object` has no such key, or null there.
bool IsAbsent(const nlohmann::json& object, const char* key);
Result<std::string> ReadString(const nlohmann::json& object, const char* key, const std::string& where);
Result<bool> ReadBool(const nlohmann::json& object, const char* key, bool fallback, const std::string& where);
Result<int64_t> ReadInteger(const nlohmann::json& object, const char* key, int64_t low, int64_t high,
                            const std::string& where);
// The parts of a Sequence, an array.
Result<const nlohmann::json*> ReadParts(const nlohmann::json& object, const char* key, int depth,
                                        const std::string& where);

}  // namespace deepshock
