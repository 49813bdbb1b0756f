// SPDX-License-Identifier: Apache-2.0
// OutputConstraints: makes the TokenConstraint of requests whose output must be JSON of a schema. A schema is
// compiled once and kept for the requests after it, the least recently used ones are dropped; the vocabulary
// is read when the first is asked for. Any thread; constraints belong to the thread that calls Step.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "deepshock/generation.h"
#include "grammar/token_grammar.h"
#include "text/tokenizer.h"

namespace deepshock {

class OutputConstraints {
 public:
  static constexpr size_t kMaxGrammars = 64;

  // The tokenizer must outlive it. `end_tokens`: where generation ends.
  OutputConstraints(const Tokenizer& tokenizer, int64_t vocab_size, std::vector<int32_t> end_tokens)
      : tokenizer_(tokenizer), vocab_size_(vocab_size), end_tokens_(std::move(end_tokens)) {}

  Result<std::shared_ptr<TokenConstraint>> JsonSchema(const nlohmann::ordered_json& schema);
  Result<std::shared_ptr<TokenConstraint>> JsonObject();
  Result<std::shared_ptr<TokenConstraint>> Regex(std::string_view pattern);
  Result<std::shared_ptr<TokenConstraint>> Ebnf(std::string_view text);
  // As Engine::ConstrainToResponseFormat.
  Result<std::shared_ptr<TokenConstraint>> ResponseFormat(const nlohmann::ordered_json& format);

 private:
  using Compile = std::function<Result<std::shared_ptr<const Grammar>>()>;
  // The grammar under `key`, compiled where it is not there.
  Result<std::shared_ptr<TokenConstraint>> Make(const std::string& key, const Compile& compile);

  const Tokenizer& tokenizer_;
  int64_t vocab_size_;
  std::vector<int32_t> end_tokens_;
  std::mutex mutex_;
  std::shared_ptr<const TokenVocabulary> vocabulary_;
  struct Known {
    std::shared_ptr<TokenGrammar> grammar;
    std::list<std::string>::iterator place;
  };
  std::list<std::string> order_;  // of keys, the last used first
  std::unordered_map<std::string, Known> known_;
};

}  // namespace deepshock
