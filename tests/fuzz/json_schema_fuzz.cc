// SPDX-License-Identifier: Apache-2.0
// Compiles a schema, or a pattern where the input is no JSON object, and walks through its grammar by what
// follows a NUL in the input. What a walk ends with must be JSON where a schema was given.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "grammar/json_schema.h"
#include "grammar/token_grammar.h"

namespace deepshock {
namespace {

constexpr int64_t kSteps = 60'000;  // small: an input should take milliseconds

std::shared_ptr<const TokenVocabulary> Vocabulary() {
  static const auto vocabulary = [] {
    std::vector<std::string> tokens = {""};
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    for (const char* text : {"\": ", "\",", "\"}", "{\"", "null", "true", "12", "  ", "\n  ", "]}", "ab"})
      tokens.emplace_back(text);
    return std::make_shared<const TokenVocabulary>(tokens, std::vector<int32_t>{0});
  }();
  return vocabulary;
}

void Walk(std::shared_ptr<const Grammar> grammar, std::string_view choices, bool is_json) {
  GrammarMatcher matcher(std::make_shared<TokenGrammar>(std::move(grammar), Vocabulary()));
  std::string text;
  std::vector<uint32_t> mask(Vocabulary()->mask_words());
  for (size_t i = 0; i < std::min<size_t>(choices.size(), 200); ++i) {
    matcher.Allowed(mask);
    std::vector<int32_t> allowed;
    for (int32_t token = 0; token < Vocabulary()->size(); ++token) {
      if ((mask[static_cast<size_t>(token) / 32] >> token % 32 & 1) != 0) allowed.push_back(token);
    }
    DS_CHECK(!allowed.empty(), "a mask without tokens");
    const int32_t token = allowed[static_cast<uint8_t>(choices[i]) % allowed.size()];
    DS_CHECK(matcher.Accept(token), "an allowed token is refused");
    if (token == 0) break;
    text += Vocabulary()->bytes(token);
  }
  if (is_json && matcher.CanEnd()) DS_CHECK(nlohmann::json::accept(text), "no JSON");
}

}  // namespace
}  // namespace deepshock

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), input.size());
  const std::string_view text = input.substr(0, end), choices = input.substr(end);
  if (const Result<Json> checked = ParseJson(text); checked.ok()) {
    const auto grammar = CompileJsonSchema(nlohmann::ordered_json::parse(text), kSteps);
    if (grammar.ok()) Walk(*grammar, choices, true);
  } else {
    const auto grammar = CompileRegex(text, kSteps);
    if (grammar.ok()) Walk(*grammar, choices, false);
  }
  return 0;
}
