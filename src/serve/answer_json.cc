// SPDX-License-Identifier: Apache-2.0
#include "serve/answer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "experts/profile.h"
#include "runtime/routing_json.h"
#include "serve/call.h"

namespace deepshock {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr size_t kIdLength = 24;

std::string Dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

void AppendLogprob(const Engine& engine, const TokenLogprob& entry, std::string* out) {
  *out += "\"token\": ";
  AppendJsonString(engine.Decode({&entry.token, 1}), out);
  // The least number that JSON can say of what cannot be.
  *out += fmt::format(", \"logprob\": {:.6f}, \"bytes\": [", std::max(entry.logprob, -9999.0F));
  const char* separator = "";
  for (const char c : engine.TokenBytes(entry.token)) {
    *out += fmt::format("{}{}", separator, static_cast<int>(static_cast<unsigned char>(c)));
    separator = ", ";
  }
  *out += "]";
}

}  // namespace

std::string NewId(std::string_view prefix) {
  static const char kLetters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::string id(prefix);
  for (size_t i = 0; i < kIdLength; ++i) id.push_back(kLetters[random() % (sizeof(kLetters) - 1)]);
  return id;
}

std::string TokenLogprobsJson(const Engine& engine, const TokenLogprobs& logprobs) {
  std::string json = "{";
  AppendLogprob(engine, logprobs.chosen, &json);
  json += ", \"top_logprobs\": [";
  const char* separator = "{";
  for (const TokenLogprob& top : logprobs.top) {
    json += separator;
    AppendLogprob(engine, top, &json);
    json += "}";
    separator = ", {";
  }
  return json + "]}";
}

void UsageCount::Add(const GenerationResult& result) {
  prompt_tokens += result.prompt_tokens;
  cached_tokens += result.cached_prompt_tokens;
  completion_tokens += static_cast<int64_t>(result.tokens.size());
}

std::string UsageJson(const UsageCount& usage) {
  return fmt::format(
      R"({{"prompt_tokens": {}, "completion_tokens": {}, "total_tokens": {}, "prompt_tokens_details": )"
      R"({{"cached_tokens": {}, "audio_tokens": 0}}, "completion_tokens_details": {{"reasoning_tokens": {}, )"
      R"("audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}}})",
      usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens,
      usage.cached_tokens, usage.reasoning_tokens);
}

std::string DeepshockJson(const Engine& engine, const GenerationResult& result) {
  OrderedJson json = {{"queue_ms", RoundDecimals(result.queue_ms, 3)},
                      {"first_token_ms", RoundDecimals(result.first_token_ms, 3)},
                      {"total_ms", RoundDecimals(result.total_ms, 3)},
                      {"tokens_per_second", RoundDecimals(result.TokensPerSecond(), 2)},
                      {"drafted_tokens", result.drafted_tokens},
                      {"accepted_tokens", result.accepted_tokens},
                      {"seed", result.seed}};
  if (!result.expert_type.empty()) json["expert_type"] = result.expert_type;
  if (result.routing) json["routing"] = RoutingAuditJson(*result.routing);
  if (result.experts) json["experts"] = AnswerExpertsJson(engine, result);
  return Dump(json);
}

}  // namespace deepshock
