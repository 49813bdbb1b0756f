// SPDX-License-Identifier: Apache-2.0
// JSON (nlohmann::json) behind limits, for text that nobody has checked yet.
// Include this in .cc files only: nlohmann's header is large. Headers use <nlohmann/json_fwd.hpp>.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace deepshock {

using Json = nlohmann::json;

constexpr int kMaxJsonDepth = 128;

// Fails on invalid JSON or UTF-8, on a key that occurs twice in one object, and past kMaxJsonDepth levels;
// the message tells the position.
Result<Json> ParseJson(std::string_view text);
// The same for a file of at most `max_bytes`; the message names it.
Result<Json> ReadJsonFile(const std::string& path, size_t max_bytes);

}  // namespace deepshock
