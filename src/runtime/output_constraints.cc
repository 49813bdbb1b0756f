// SPDX-License-Identifier: Apache-2.0
#include "runtime/output_constraints.h"

#include <nlohmann/json.hpp>

#include "grammar/ebnf.h"
#include "grammar/json_schema.h"

namespace deepshock {
namespace {

class GrammarConstraint final : public TokenConstraint {
 public:
  explicit GrammarConstraint(std::shared_ptr<TokenGrammar> grammar) : matcher_(std::move(grammar)) {}
  void Allowed(std::span<uint32_t> mask) override { matcher_.Allowed(mask); }
  bool Accept(int32_t token) override { return matcher_.Accept(token); }

 private:
  GrammarMatcher matcher_;
};

}  // namespace

Result<std::shared_ptr<TokenConstraint>> OutputConstraints::Make(const std::string& key,
                                                                 const Compile& compile) {
  if (end_tokens_.empty())
    return Fail("structured output: the model has no end-of-sequence token to end it with");
  std::shared_ptr<TokenGrammar> grammar;
  {
    const std::lock_guard lock(mutex_);
    if (vocabulary_ == nullptr) {
      vocabulary_ = std::make_shared<const TokenVocabulary>(tokenizer_, vocab_size_, end_tokens_);
    }
    if (const auto at = known_.find(key); at != known_.end()) {
      order_.splice(order_.begin(), order_, at->second.place);
      grammar = at->second.grammar;
    }
  }
  if (grammar == nullptr) {
    // Not under the lock: others need not wait for it. Two may compile the same; the first one's is kept.
    DS_ASSIGN(std::shared_ptr<const Grammar> compiled, compile());
    const std::lock_guard lock(mutex_);
    Known& known = known_[key];
    if (known.grammar == nullptr) {
      known.grammar = std::make_shared<TokenGrammar>(std::move(compiled), vocabulary_);
      order_.push_front(key);
      known.place = order_.begin();
    }
    grammar = known.grammar;
    if (order_.size() > kMaxGrammars) {
      known_.erase(order_.back());
      order_.pop_back();
    }
  }
  return std::shared_ptr<TokenConstraint>(std::make_shared<GrammarConstraint>(std::move(grammar)));
}

Result<std::shared_ptr<TokenConstraint>> OutputConstraints::JsonSchema(const nlohmann::ordered_json& schema) {
  const std::string text = schema.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return Make("schema " + text, [&] { return CompileJsonSchema(schema); });
}

Result<std::shared_ptr<TokenConstraint>> OutputConstraints::JsonObject() {
  return Make("object", [] { return CompileJsonObject(); });
}

Result<std::shared_ptr<TokenConstraint>> OutputConstraints::Regex(std::string_view pattern) {
  return Make("regex " + std::string(pattern), [&] { return CompileRegex(pattern); });
}

Result<std::shared_ptr<TokenConstraint>> OutputConstraints::Ebnf(std::string_view text) {
  return Make("ebnf " + std::string(text), [&] { return CompileEbnf(text); });
}

Result<std::shared_ptr<TokenConstraint>> OutputConstraints::ResponseFormat(
    const nlohmann::ordered_json& format) {
  if (!format.is_object() || !format.contains("type") || !format["type"].is_string()) {
    return Fail("response_format: expected an object with a \"type\"");
  }
  const auto type = format["type"].get<std::string>();
  if (type == "text") return std::shared_ptr<TokenConstraint>();
  if (type == "json_object") return JsonObject();
  for (const char* own : {"regex", "grammar"}) {
    if (type != own) continue;
    if (!format.contains(own) || !format[own].is_string())
      return Fail("response_format.{}: expected a string", own);
    const auto text = format[own].get<std::string>();
    return (type == "regex" ? Regex(text) : Ebnf(text)).WithContext("response_format");
  }
  if (type != "json_schema") {
    return Fail(
        "response_format.type: expected text, json_object, json_schema, regex or grammar, found \"{}\"",
        type);
  }
  if (!format.contains("json_schema") || !format["json_schema"].is_object() ||
      !format["json_schema"].contains("schema")) {
    return Fail("response_format.json_schema: expected an object with a \"schema\"");
  }
  return JsonSchema(format["json_schema"]["schema"]).WithContext("response_format");
}

}  // namespace deepshock
