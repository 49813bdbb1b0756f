// SPDX-License-Identifier: Apache-2.0
// JSON Schema to grammar: what the grammar matches are JSON texts that the schema finds valid, in one of the
// ways to write them (docs/structured-output.md tells which). What cannot be held to is refused with the JSON
// pointer of the keyword. Schemas are hostile: size, depth, alternatives, repetitions and time are bounded.
// Any thread.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"

namespace deepshock {

constexpr int64_t kMaxGrammarSteps = 10'000'000;  // of a Budget: about half a second

Result<std::shared_ptr<const Grammar>> CompileJsonSchema(const nlohmann::ordered_json& schema,
                                                         int64_t max_steps = kMaxGrammarSteps);
// Any JSON object.
Result<std::shared_ptr<const Grammar>> CompileJsonObject();
// What the whole pattern matches (grammar/pattern.h).
Result<std::shared_ptr<const Grammar>> CompileRegex(std::string_view pattern,
                                                    int64_t max_steps = kMaxGrammarSteps);

}  // namespace deepshock
