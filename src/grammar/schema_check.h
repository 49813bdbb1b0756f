// SPDX-License-Identifier: Apache-2.0
// Whether a JSON Schema is one that can be compiled: every keyword known and of the right type, nothing that
// is not supported, within limits. Looks at the whole schema, before anything is built. Internal to
// json_schema.cc.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace deepshock {

constexpr int kMaxSchemaDepth = 64;
constexpr int64_t kMaxSchemaValues = 100'000;  // values and keys in the schema

// The message begins with the JSON pointer of what is wrong: "/properties/a/minimum: expected ...".
Status CheckSchema(const nlohmann::ordered_json& schema);

// `pointer` with one more step.
std::string Under(const std::string& pointer, std::string_view step);
// Keywords that say nothing about which values are valid.
bool IsAnnotation(std::string_view keyword);

}  // namespace deepshock
