// SPDX-License-Identifier: Apache-2.0
// Patterns of JSON Schema's string formats. Internal to json_schema.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deepshock {

// The pattern that a string of this format matches whole; none for an unknown one.
std::optional<std::string> PatternOfFormat(std::string_view format);
std::vector<std::string_view> KnownFormats();

}  // namespace deepshock
