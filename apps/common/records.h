// SPDX-License-Identifier: Apache-2.0
// Between the records of batch inference (data/prompt_record.h) and the engine's requests and results.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "data/prompt_record.h"
#include "deepshock/engine.h"

namespace deepshock {

// Fills the request from the record: its prompt tokens, and the options it gives over those already there.
// `chat`: a "prompt" goes through the chat template as a user's message.
Status ApplyRecord(const PromptRecord& record, const Engine& engine, bool chat, GenerationRequest* request);

// The output line of a finished request, without the newline. `sampled`: the seed is worth telling.
std::string ResultRecord(int64_t index, const PromptRecord& record, const Engine& engine,
                         const GenerationResult& result, bool sampled);

}  // namespace deepshock
