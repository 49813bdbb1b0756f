// SPDX-License-Identifier: Apache-2.0
#include "apps/common/records.h"

#include <nlohmann/json.hpp>

#include "runtime/routing_json.h"

namespace deepshock {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr int64_t kMaxLogprobs = 100;  // a record's logprobs: more would make output far larger than text

OrderedJson LogprobJson(const Engine& engine, const TokenLogprob& entry) {
  return {{"token", entry.token},
          {"text", engine.Decode(std::span<const int32_t>(&entry.token, 1))},
          {"logprob", entry.logprob}};
}

OrderedJson LogprobsJson(const Engine& engine, const GenerationResult& result) {
  OrderedJson list = OrderedJson::array();
  for (const TokenLogprobs& token : result.logprobs) {
    OrderedJson entry = LogprobJson(engine, token.chosen);
    entry["top"] = OrderedJson::array();
    for (const TokenLogprob& top : token.top) entry["top"].push_back(LogprobJson(engine, top));
    list.push_back(std::move(entry));
  }
  return list;
}

Result<int> SmallInteger(const char* name, int64_t value) {
  if (value >= 1 && value <= INT32_MAX) return static_cast<int>(value);
  return Fail("{}: expected 1 or more, found {}", name, value);
}

// What the record says about a kind of rule takes the place of what the options say.
void ReplaceRules(ExpertRule::Kind kind, const std::vector<std::pair<std::string, double>>& given,
                  std::vector<ExpertRule>* rules) {
  std::erase_if(*rules, [kind](const ExpertRule& rule) { return rule.kind == kind; });
  for (const auto& [experts, value] : given) rules->push_back({kind, experts, value});
}

Status ApplyRouting(const PromptRecord& record, RoutingOptions* routing) {
  if (record.ban_experts) {
    std::vector<std::pair<std::string, double>> bans;
    for (const std::string& experts : *record.ban_experts) bans.emplace_back(experts, 0);
    ReplaceRules(ExpertRule::Kind::kBan, bans, &routing->rules);
  }
  if (record.bias_experts) ReplaceRules(ExpertRule::Kind::kBias, *record.bias_experts, &routing->rules);
  if (record.boost_experts) ReplaceRules(ExpertRule::Kind::kBoost, *record.boost_experts, &routing->rules);
  if (record.experts_per_token) {
    DS_ASSIGN(routing->experts_per_token, SmallInteger("experts_per_token", *record.experts_per_token));
  }
  if (record.min_experts) {
    DS_ASSIGN(routing->min_experts, SmallInteger("min_experts", *record.min_experts));
  }
  if (record.adaptive_experts) routing->adaptive_experts = *record.adaptive_experts;
  if (record.explain_experts) routing->explain = *record.explain_experts;
  return {};
}

}  // namespace

Status ApplyRecord(const PromptRecord& record, const Engine& engine, bool chat, GenerationRequest* request) {
  if (!record.messages.empty()) {
    const OrderedJson tools = record.tools.empty() ? OrderedJson() : OrderedJson::parse(record.tools);
    DS_ASSIGN(request->prompt, engine.EncodeChat(OrderedJson::parse(record.messages), tools));
  } else if (chat) {
    const OrderedJson message = {{"role", "user"}, {"content", *record.prompt}};
    DS_ASSIGN(request->prompt, engine.EncodeChat(OrderedJson::array({message}), OrderedJson()));
  } else if (record.prompt->empty()) {
    return Fail("prompt: expected some text, found an empty string");
  } else {
    request->prompt = engine.EncodePrompt(*record.prompt);
  }
  const auto lay = [](const auto& given, auto* value) {
    if (given) *value = *given;
  };
  SamplingOptions& sampling = request->sampling;
  lay(record.temperature, &sampling.temperature);
  lay(record.top_k, &sampling.top_k);
  lay(record.top_p, &sampling.top_p);
  lay(record.min_p, &sampling.min_p);
  lay(record.repetition_penalty, &sampling.repetition_penalty);
  lay(record.presence_penalty, &sampling.presence_penalty);
  lay(record.frequency_penalty, &sampling.frequency_penalty);
  lay(record.logit_bias, &sampling.logit_bias);
  if (record.seed) sampling.seed = record.seed;
  lay(record.stop, &request->stop);
  lay(record.ignore_eos, &request->ignore_eos);
  if (!record.response_format.empty()) {
    DS_ASSIGN(request->constraint,
              engine.ConstrainToResponseFormat(OrderedJson::parse(record.response_format)));
  }
  lay(record.expert_type, &request->expert_type);
  if (record.max_tokens) {
    if (*record.max_tokens < 1) return Fail("max_tokens: expected 1 or more, found {}", *record.max_tokens);
    request->max_tokens = *record.max_tokens;
  }
  DS_RETURN_IF_ERROR(ApplyRouting(record, &request->routing));
  if (record.logprobs) {
    if (*record.logprobs < 0 || *record.logprobs > kMaxLogprobs) {
      return Fail("logprobs: expected 0 to {}, found {}", kMaxLogprobs, *record.logprobs);
    }
    request->num_logprobs = static_cast<int>(*record.logprobs);
  }
  return {};
}

std::string ResultRecord(int64_t index, const PromptRecord& record, const Engine& engine,
                         const GenerationResult& result, bool sampled) {
  const int64_t num_output = static_cast<int64_t>(result.tokens.size());
  OrderedJson json = {{"index", index}};
  if (!record.id.empty()) json["id"] = OrderedJson::parse(record.id);
  if (!record.metadata.empty()) json["metadata"] = OrderedJson::parse(record.metadata);
  json["text"] = result.text;
  json["finish_reason"] = FinishReasonName(result.finish_reason);
  json["usage"] = {{"prompt_tokens", result.prompt_tokens},
                   {"completion_tokens", num_output},
                   {"total_tokens", result.prompt_tokens + num_output}};
  if (sampled) json["seed"] = result.seed;
  if (!result.logprobs.empty()) json["logprobs"] = LogprobsJson(engine, result);
  if (result.routing) json["routing"] = RoutingAuditJson(*result.routing);
  if (result.experts) json["experts"] = AnswerExpertsJson(engine, result);
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace deepshock
