// SPDX-License-Identifier: Apache-2.0
// Parts of answers that OpenAI's APIs share, as JSON text: written by hand, since they are written for every
// token. Pure; any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "deepshock/engine.h"

namespace deepshock {

// "chatcmpl-" and 24 random letters and digits.
std::string NewId(std::string_view prefix);

// {"token", "logprob", "bytes", "top_logprobs"} of /v1/chat/completions.
std::string TokenLogprobsJson(const Engine& engine, const TokenLogprobs& logprobs);

struct UsageCount {
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
  void Add(const GenerationResult& result);
};
std::string UsageJson(const UsageCount& usage);

// Deepshock's own field of an answer: speed, and what experts did where it was asked for.
std::string DeepshockJson(const Engine& engine, const GenerationResult& result);

}  // namespace deepshock
