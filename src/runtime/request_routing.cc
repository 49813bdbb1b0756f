// SPDX-License-Identifier: Apache-2.0
#include "runtime/request_routing.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace deepshock {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();
constexpr double kMostBias = 1e4, kMostBoost = 1e6;
constexpr size_t kExpertsOfAToken = 4;  // that an explanation names

struct Range {
  int first = 0, last = 0;
};

// "5", "2-4" or "*", which is 0 .. last.
bool ParseRange(std::string_view text, int last, Range* range) {
  if (text == "*") {
    *range = {0, last};
    return true;
  }
  const char* end = text.data() + text.size();
  std::from_chars_result read = std::from_chars(text.data(), end, range->first);
  range->last = range->first;
  if (read.ec == std::errc() && read.ptr != end && *read.ptr == '-') {
    read = std::from_chars(read.ptr + 1, end, range->last);
  }
  return read.ec == std::errc() && read.ptr == end && range->first >= 0 && range->first <= range->last;
}

Status CheckShares(const RoutingOptions& options, const RoutingShape& shape) {
  if (shape.num_experts == 0) return Fail("the model has no experts");
  const int k = shape.num_chosen;
  if (options.experts_per_token < 0 || options.experts_per_token > k)
    return Fail("experts_per_token: expected 1 to {}, as the model has it, found {}", k,
                options.experts_per_token);
  if (!(options.adaptive_experts > 0 && options.adaptive_experts <= 1))
    return Fail("adaptive_experts: expected a share above 0 and up to 1, found {}", options.adaptive_experts);
  const int most = options.experts_per_token > 0 ? options.experts_per_token : k;
  if (options.min_experts < 1 || options.min_experts > most)
    return Fail("min_experts: expected 1 to {}, found {}", most, options.min_experts);
  return {};
}

Status CheckRule(const ExpertRule& rule) {
  if (rule.kind == ExpertRule::Kind::kBias && !(std::abs(rule.value) <= kMostBias))
    return Fail("bias of {}: expected -{} to {}, found {}", rule.experts, kMostBias, kMostBias, rule.value);
  if (rule.kind == ExpertRule::Kind::kBoost && !(rule.value >= 1 / kMostBoost && rule.value <= kMostBoost))
    return Fail("boost of {}: expected a factor of {} to {}, found {}", rule.experts, 1 / kMostBoost,
                kMostBoost, rule.value);
  return {};
}

void ApplyRule(const ExpertRule& rule, const ExpertId& id, int num_experts, RoutingControl* control) {
  RoutingControl::Layer& layer = control->layers[static_cast<size_t>(id.layer)];
  std::vector<float>& bias = rule.kind == ExpertRule::Kind::kBoost ? layer.logit_bias : layer.selection_bias;
  bias.resize(static_cast<size_t>(num_experts));
  float& value = bias[static_cast<size_t>(id.expert)];
  switch (rule.kind) {
    case ExpertRule::Kind::kBan:
      value = kBanned;
      break;
    case ExpertRule::Kind::kBias:
      value += static_cast<float>(rule.value);
      break;
    case ExpertRule::Kind::kBoost:
      value += static_cast<float>(std::log(rule.value));
      break;
  }
}

}  // namespace

Result<std::vector<ExpertId>> ParseExperts(std::string_view text, const GroupMasks& groups) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return groups.Find(text);
  const RoutingShape& shape = groups.shape();
  Range layers, experts;
  if (!ParseRange(text.substr(0, colon), shape.layers.back(), &layers) ||
      !ParseRange(text.substr(colon + 1), shape.num_experts - 1, &experts)) {
    return Fail(
        "experts: expected a group's name or LAYER:EXPERT, such as 3:17, 2-4:0-7 or *:5, found \"{}\"", text);
  }
  if (experts.last >= shape.num_experts)
    return Fail("experts \"{}\": expected experts 0 to {}, found {}", text, shape.num_experts - 1,
                experts.last);
  std::vector<ExpertId> ids;
  for (const int layer : shape.layers) {
    if (layer < layers.first || layer > layers.last) continue;
    for (int e = experts.first; e <= experts.last; ++e) ids.push_back({layer, e});
  }
  if (ids.empty() || layers.last > shape.layers.back()) {
    return Fail("experts \"{}\": expected layers with experts, {} to {}, found {}", text,
                shape.layers.front(), shape.layers.back(), layers.last);
  }
  return ids;
}

Result<RoutingControl> MakeRoutingControl(const RoutingOptions& options, const GroupMasks& groups) {
  const RoutingShape& shape = groups.shape();
  DS_RETURN_IF_ERROR(CheckShares(options, shape));
  RoutingControl control;
  control.max_chosen = options.experts_per_token;
  control.weight_share = static_cast<float>(options.adaptive_experts);
  control.min_chosen = options.min_experts;
  if (options.rules.empty()) return control;
  control.layers.resize(static_cast<size_t>(shape.layers.back()) + 1);
  for (const ExpertRule& rule : options.rules) {
    DS_RETURN_IF_ERROR(CheckRule(rule));
    DS_ASSIGN(const std::vector<ExpertId> ids, ParseExperts(rule.experts, groups));
    for (const ExpertId& id : ids) ApplyRule(rule, id, shape.num_experts, &control);
  }
  const int wanted = options.experts_per_token > 0 ? options.experts_per_token : shape.num_chosen;
  for (const int layer : shape.layers) {
    const auto& bias = control.layers[static_cast<size_t>(layer)].selection_bias;
    const auto left = shape.num_experts - std::ranges::count(bias, kBanned);
    if (left < wanted) {
      return Fail(
          "bans: expected at least {} experts left in layer {}, one for each that a token takes, found {}",
          wanted, layer, left);
    }
  }
  return control;
}

std::string RoutingKey(const RoutingOptions& options) {
  if (!options.steers()) return "";
  std::string key =
      fmt::format("{} {} {}", options.experts_per_token, options.adaptive_experts, options.min_experts);
  for (const ExpertRule& rule : options.rules)
    key += fmt::format("|{} {} {}", static_cast<int>(rule.kind), rule.value, rule.experts);
  return key;
}

Result<std::unique_ptr<RequestRouting>> RequestRouting::Create(const RoutingOptions& options,
                                                               const GroupMasks& groups) {
  std::unique_ptr<RequestRouting> routing;
  if (!options.steers() && !options.explain) return routing;
  const RoutingShape& shape = groups.shape();
  routing.reset(new RequestRouting(groups));
  DS_ASSIGN(routing->control_, MakeRoutingControl(options, groups));
  if (options.steers()) {
    routing->audit_.emplace();
    routing->audit_->asked = options;
    for (const int layer : shape.layers) routing->audit_->layers.push_back({layer});
  }
  if (options.explain) {
    routing->experts_.emplace();
    routing->experts_->groups = groups.names();
    routing->experts_->group_shares.resize(groups.size());
    routing->shares_.resize(groups.size());
    for (const int layer : shape.layers) {
      for (int e = 0; e < shape.num_experts; ++e) routing->totals_.push_back({layer, e});
    }
  }
  return routing;
}

void RequestRouting::OnCounted(std::span<const RoutingFeed::Layer> layers, int64_t row) {
  if (!audit_) return;
  ++audit_->tokens;
  for (size_t l = 0; l < layers.size(); ++l) {
    audit_->selections += layers[l].num_chosen;
    const RoutingChange& change = layers[l].changes[static_cast<size_t>(row)];
    audit_->layers[l].changed += change.changed;
    audit_->layers[l].banned += change.banned;
    audit_->layers[l].dropped += change.dropped;
  }
}

void RequestRouting::OnDrawn(std::span<const RoutingFeed::Layer> layers, int64_t row) {
  if (!experts_) return;
  std::ranges::fill(shares_, 0);
  double sum = 0;
  for (size_t l = 0; l < layers.size(); ++l)
    sum += groups_.AddWeights(l, layers[l].Experts(row), layers[l].Weights(row), shares_);
  if (!(sum > 0)) sum = 1;
  AnswerExperts::Token token;
  for (size_t g = 0; g < shares_.size(); ++g) {
    experts_->group_shares[g] += shares_[g] / sum;
    token.group_shares.push_back(static_cast<float>(shares_[g] / sum));
  }
  const auto num_experts = static_cast<size_t>(groups_.shape().num_experts);
  for (size_t l = 0; l < layers.size(); ++l) {
    const auto experts = layers[l].Experts(row);
    const auto weights = layers[l].Weights(row);
    for (size_t i = 0; i < experts.size() && experts[i] >= 0; ++i) {
      const double share = weights[i] / sum;
      AnswerExperts::Expert& total = totals_[l * num_experts + static_cast<size_t>(experts[i])];
      total.share += share;
      ++total.tokens;
      token.experts.push_back({layers[l].layer, experts[i], share, 1});
      if (groups_.At(l, experts[i]) == 0) experts_->ungrouped_share += share;
    }
  }
  std::ranges::stable_sort(token.experts, std::greater(), &AnswerExperts::Expert::share);
  if (token.experts.size() > kExpertsOfAToken) token.experts.resize(kExpertsOfAToken);
  experts_->tokens.push_back(std::move(token));
}

void RequestRouting::Report(GenerationResult* result) {
  result->routing = std::move(audit_);
  if (!experts_) return;
  const auto num_tokens = static_cast<double>(std::max<size_t>(1, experts_->tokens.size()));
  for (double& share : experts_->group_shares) share /= num_tokens;
  experts_->ungrouped_share /= num_tokens;
  for (AnswerExperts::Expert& expert : totals_) {
    if (expert.tokens == 0) continue;
    expert.share /= num_tokens;
    experts_->experts.push_back(expert);
  }
  std::ranges::stable_sort(experts_->experts, std::greater(), &AnswerExperts::Expert::share);
  result->experts = std::move(experts_);
}

}  // namespace deepshock
