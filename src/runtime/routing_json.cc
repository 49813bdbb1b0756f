// SPDX-License-Identifier: Apache-2.0
#include "runtime/routing_json.h"

#include <nlohmann/json.hpp>

#include "experts/profile.h"

namespace deepshock {
namespace {

using OrderedJson = nlohmann::ordered_json;

double Rounded(double value) { return RoundDecimals(value, 4); }

const char* Name(ExpertRule::Kind kind) {
  switch (kind) {
    case ExpertRule::Kind::kBan:
      return "ban";
    case ExpertRule::Kind::kBias:
      return "bias";
    case ExpertRule::Kind::kBoost:
      return "boost";
  }
  return "";
}

OrderedJson SharesJson(const std::vector<std::string>& names, const auto& shares) {
  OrderedJson json = OrderedJson::object();
  for (size_t g = 0; g < names.size(); ++g) json[names[g]] = Rounded(shares[g]);
  return json;
}

}  // namespace

std::string ExpertName(const AnswerExperts::Expert& expert) {
  return fmt::format("{}:{}", expert.layer, expert.expert);
}

OrderedJson RoutingAuditJson(const RoutingAudit& audit) {
  OrderedJson asked = OrderedJson::object();
  for (const ExpertRule& rule : audit.asked.rules) {
    OrderedJson json = {{"experts", rule.experts}};
    if (rule.kind != ExpertRule::Kind::kBan) json["value"] = rule.value;
    asked[Name(rule.kind)].push_back(std::move(json));
  }
  if (audit.asked.experts_per_token > 0) asked["experts_per_token"] = audit.asked.experts_per_token;
  if (audit.asked.adaptive_experts < 1) {
    asked["adaptive_experts"] = audit.asked.adaptive_experts;
    asked["min_experts"] = audit.asked.min_experts;
  }
  OrderedJson layers = OrderedJson::array();
  for (const RoutingAudit::Layer& layer : audit.layers) {
    layers.push_back({{"layer", layer.layer},
                      {"changed", layer.changed},
                      {"banned", layer.banned},
                      {"dropped", layer.dropped}});
  }
  return {{"asked", std::move(asked)},
          {"tokens", audit.tokens},
          {"selections", audit.selections},
          {"layers", std::move(layers)}};
}

OrderedJson AnswerExpertsJson(const Engine& engine, const GenerationResult& result) {
  const AnswerExperts& answer = *result.experts;
  OrderedJson json = {{"groups", SharesJson(answer.groups, answer.group_shares)},
                      {"ungrouped", Rounded(answer.ungrouped_share)},
                      {"experts", OrderedJson::array()},
                      {"tokens", OrderedJson::array()}};
  for (const AnswerExperts::Expert& expert : answer.experts) {
    json["experts"].push_back(
        {{"expert", ExpertName(expert)}, {"share", Rounded(expert.share)}, {"tokens", expert.tokens}});
  }
  for (size_t i = 0; i < answer.tokens.size() && i < result.tokens.size(); ++i) {
    OrderedJson experts = OrderedJson::object();
    for (const AnswerExperts::Expert& expert : answer.tokens[i].experts)
      experts[ExpertName(expert)] = Rounded(expert.share);
    const int32_t token = result.tokens[i];
    json["tokens"].push_back({{"token", token},
                              {"text", engine.Decode({&token, 1})},
                              {"groups", SharesJson(answer.groups, answer.tokens[i].group_shares)},
                              {"experts", std::move(experts)}});
  }
  return json;
}

}  // namespace deepshock
