// SPDX-License-Identifier: Apache-2.0
// One line of batch inference, in and out.
// In:  {"prompt": TEXT} or {"messages": [...], "tools": [...]}, and optionally id, metadata (both handed
// through),
//      max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty,
//      logit_bias {"TOKEN": BIAS}, seed, stop (a string or a list), ignore_eos, logprobs (how many),
//      response_format {"type": ...} as in OpenAI's API (docs/structured-output.md),
//      ban_experts (a string or a list), bias_experts and boost_experts {"EXPERTS": X}, experts_per_token,
//      adaptive_experts, min_experts, explain_experts, expert_type (a string: docs/scheduling.md).
//      null counts as absent; another field is an error that names it.
// Out: {"index", "id", "metadata", "text", "finish_reason", "usage"} or {"index", "line", "id", "error"}.
// Ranges are the sampler's to check; here a field has the right JSON type or is an error.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace deepshock {

struct PromptRecord {
  // What the line says about itself; read even when the rest of the line is wrong. JSON text, empty when
  // absent.
  std::string id;
  std::string metadata;

  std::optional<std::string> prompt;
  std::string messages;  // JSON text of the list, key order kept; empty when there is a prompt
  std::string tools;     // the same; empty when absent

  std::optional<int64_t> max_tokens, top_k, logprobs;
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<std::vector<std::pair<int32_t, double>>> logit_bias;
  std::optional<uint64_t> seed;
  std::optional<std::vector<std::string>> stop;
  std::optional<bool> ignore_eos;
  std::string response_format;  // JSON text of the object, key order kept; empty when absent

  // docs/routing.md
  std::optional<std::vector<std::string>> ban_experts;
  std::optional<std::vector<std::pair<std::string, double>>> bias_experts, boost_experts;
  std::optional<int64_t> experts_per_token, min_experts;
  std::optional<double> adaptive_experts;
  std::optional<bool> explain_experts;
  std::optional<std::string> expert_type;  // docs/scheduling.md
};

// Fills as much of `record` as the line allows, so that an error can be reported under the line's own id.
Status ParsePromptRecord(std::string_view line, PromptRecord* record);

// The output line of an input line that failed, without the newline.
std::string ErrorRecord(int64_t index, int64_t line, const PromptRecord& record, const std::string& error);

}  // namespace deepshock
