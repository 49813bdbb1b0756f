// SPDX-License-Identifier: Apache-2.0
// For tests of grammars: matching a text, and small vocabularies.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/json_schema.h"
#include "grammar/stack_machine.h"
#include "grammar/token_grammar.h"

namespace deepshock {

// The grammar matches all of the text.
inline bool Matches(const Grammar& grammar, std::string_view text) {
  StackMachine machine(grammar, false);
  uint32_t set = machine.Start(grammar.start());
  for (const char c : text) set = machine.Step(set, static_cast<uint8_t>(c));
  return machine.ended(set);
}

inline std::shared_ptr<const Grammar> MustCompile(std::string_view schema) {
  const auto grammar = CompileJsonSchema(nlohmann::ordered_json::parse(schema));
  EXPECT_TRUE(grammar.ok()) << schema << ": " << grammar.message();
  return grammar.ok() ? *grammar : nullptr;
}

inline std::string CompileError(std::string_view schema) {
  const auto grammar = CompileJsonSchema(nlohmann::ordered_json::parse(schema));
  EXPECT_FALSE(grammar.ok()) << schema;
  return grammar.message();
}

}  // namespace deepshock
