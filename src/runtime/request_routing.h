// SPDX-License-Identifier: Apache-2.0
// A request's routing options, checked and made ready for the model, and the record of what they did. Pure
// functions, and RequestRouting, which the scheduler owns for each request that steers or wants to be told.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "deepshock/generation.h"
#include "experts/group_masks.h"
#include "model/router.h"
#include "runtime/routing_feed.h"

namespace deepshock {

// The experts that a rule names: "code_expert", "3:17", "2-4:0-7", "*:5". Ranges and * pass over layers
// without experts.
Result<std::vector<ExpertId>> ParseExperts(std::string_view text, const GroupMasks& groups);

// Fails where a value is out of range, a name unknown, or bans leave a layer too few experts. `groups` tells
// the model's shape too.
Result<RoutingControl> MakeRoutingControl(const RoutingOptions& options, const GroupMasks& groups);

// The same text for options that steer the same way: what was computed under one is not what another
// computes.
std::string RoutingKey(const RoutingOptions& options);

class RequestRouting {
 public:
  // Null for options that ask for nothing. `groups` outlives it.
  static Result<std::unique_ptr<RequestRouting>> Create(const RoutingOptions& options,
                                                        const GroupMasks& groups);

  const RoutingControl* control() const { return audit_ ? &control_ : nullptr; }
  // A row of the pass that counts; a row that an output token was drawn from.
  void OnCounted(std::span<const RoutingFeed::Layer> layers, int64_t row);
  void OnDrawn(std::span<const RoutingFeed::Layer> layers, int64_t row);
  // Once, at the end.
  void Report(GenerationResult* result);

 private:
  explicit RequestRouting(const GroupMasks& groups) : groups_(groups) {}

  const GroupMasks& groups_;
  RoutingControl control_;
  std::optional<RoutingAudit> audit_;
  std::optional<AnswerExperts> experts_;
  std::vector<AnswerExperts::Expert> totals_;  // [layers, E]
  std::vector<double> shares_;                 // [groups] of one token
};

}  // namespace deepshock
