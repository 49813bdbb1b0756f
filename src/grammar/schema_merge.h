// SPDX-License-Identifier: Apache-2.0
// Brings a schema into alternatives that say everything themselves: references resolved, allOf merged, anyOf
// and oneOf spread out. Schemas below (of properties, items) stay as they are. Internal to json_schema.cc;
// schemas have passed CheckSchema.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace deepshock {

constexpr size_t kMaxAlternatives = 512;

// An object without $ref, allOf, anyOf, oneOf, const, nullable and annotations, where
//   "type" is a list, "enum" the values, "pattern" and "format" are lists of which all must hold,
//   exclusive bounds are numbers, "items" is one schema and tuples are prefixItems.
// No alternatives: nothing is valid.
Result<std::vector<nlohmann::ordered_json>> FlattenSchema(const nlohmann::ordered_json& root,
                                                          const nlohmann::ordered_json& schema);

// Whether a value is of one of the types.
bool HasType(const nlohmann::ordered_json& value, const nlohmann::ordered_json& types);

}  // namespace deepshock
