// SPDX-License-Identifier: Apache-2.0
// Sequence: a request from Submit to on_done, and how far it is. Owned by the queue while it waits and by the
// scheduler while it runs. One thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "deepshock/generation.h"
#include "runtime/request_routing.h"
#include "runtime/routing_feed.h"
#include "runtime/sampler.h"
#include "runtime/sequence_state.h"
#include "runtime/stop_matcher.h"
#include "text/tokenizer.h"

namespace deepshock {

struct Sequence {
  using Clock = std::chrono::steady_clock;
  // A level of priority is worth so long a wait, so that nobody waits for ever.
  static constexpr std::chrono::seconds kPriorityLevel{10};
  static constexpr int kMaxPriority = 1000;

  // Who goes first: the smaller one.
  using Rank = std::pair<Clock::time_point, uint64_t>;
  Rank rank() const {
    const int level = std::min(kMaxPriority, std::max(-kMaxPriority, request.priority));
    return {submitted - level * kPriorityLevel, id};
  }
  int64_t prompt_size() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t num_tokens() const { return static_cast<int64_t>(tokens.size()); }
  bool reads_prompt() const { return num_computed < prompt_size(); }
  // All but its last token are computed, and that was drawn.
  bool generates() const { return num_computed >= prompt_size() && num_computed + 1 == num_tokens(); }

  uint64_t id = 0;
  GenerationRequest request;
  Clock::time_point submitted, first_token, last_token;
  bool cancelled = false;
  int expert_type = -1;  // ExpertTypes'
  bool inferred_type = false;
  int64_t next_guess = 4;  // of its type, when so many prompts are known
  bool passed = false;  // another took its place in the queue, first at
  Clock::time_point passed_since;
  bool begun = false;  // has run, and may have been put back
  bool done = false;
  std::unique_ptr<SequenceState> own_state;  // unless the request brings a session
  SequenceState* state = nullptr;
  std::vector<int32_t> tokens;  // prompt and output
  std::vector<int32_t> drafts;  // guessed to follow; in the next pass
  size_t drafter = 0;           // whose guess they are
  int64_t num_computed = 0;     // tokens in the state, but for drafts that have not been found right
  int64_t num_counted = 0;      // positions whose routing has counted, in this request or one before
  int64_t pass_position = 0,
          pass_row = 0;  // where its part of the last pass begins: position, row of the pass
  RoutingFeed* pass_routing = nullptr;  // what was chosen in that pass
  std::unique_ptr<RequestRouting> routing;  // where the request steers or asks
  std::unique_ptr<Sampler> sampler;
  std::unique_ptr<StreamDecoder> decoder;
  StopMatcher stops;
  std::vector<double> hidden_sum;  // [H] of a request that embeds
  GenerationResult result;
};

}  // namespace deepshock
