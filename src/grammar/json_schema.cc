// SPDX-License-Identifier: Apache-2.0
#include "grammar/json_schema.h"

#include <nlohmann/json.hpp>

#include "grammar/pattern.h"
#include "grammar/schema_check.h"
#include "grammar/schema_compiler.h"

namespace deepshock {
namespace {

// Blanks may come before the value; nothing comes after it.
Result<std::shared_ptr<const Grammar>> BuildDocument(GrammarBuilder& builder, JsonRules& rules,
                                                     uint32_t value) {
  const uint32_t root = builder.NewRule();
  Nfa nfa(builder.budget());
  const uint32_t begin = nfa.NewState();
  nfa.Call(Nfa::kStart, rules.Blank(), begin);
  nfa.Call(begin, value, Nfa::kEnd);
  builder.SetBody(root, Determinize(nfa));
  return builder.Build(root);
}

}  // namespace

Result<std::shared_ptr<const Grammar>> CompileJsonSchema(const nlohmann::ordered_json& schema,
                                                         int64_t max_steps) {
  DS_RETURN_IF_ERROR(CheckSchema(schema).WithContext("JSON schema"));
  Budget budget(max_steps);
  GrammarBuilder builder(&budget);
  SchemaCompiler compiler(schema, &builder);
  DS_ASSIGN(const uint32_t value, compiler.RuleFor(schema, "").WithContext("JSON schema"));
  return BuildDocument(builder, compiler.rules(), value).WithContext("JSON schema");
}

Result<std::shared_ptr<const Grammar>> CompileJsonObject() {
  Budget budget(kMaxGrammarSteps);
  GrammarBuilder builder(&budget);
  JsonRules rules(&builder);
  const uint32_t value = rules.Object();
  return BuildDocument(builder, rules, value);
}

Result<std::shared_ptr<const Grammar>> CompileRegex(std::string_view pattern, int64_t max_steps) {
  Budget budget(max_steps);
  GrammarBuilder builder(&budget);
  const uint32_t root = builder.NewRule();
  Nfa nfa(&budget);
  DS_RETURN_IF_ERROR(AddPattern(&nfa, Nfa::kStart, pattern, false, Spelling::kPlain, Nfa::kEnd));
  builder.SetBody(root, Determinize(nfa));
  return builder.Build(root);
}

}  // namespace deepshock
