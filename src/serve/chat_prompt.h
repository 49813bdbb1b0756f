// SPDX-License-Identifier: Apache-2.0
// A request's conversation as the model's tokens, and what is known from it about the answer to come. Pure
// but for the model it reads; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "serve/answer.h"
#include "serve/chat_output.h"
#include "serve/chat_request.h"
#include "serve/model_registry.h"

namespace deepshock {

struct ChatPrompt {
  std::vector<int32_t> tokens;
  ChatOutputOptions output;  // how the answer is taken apart; call_id is the caller's
};

// `request` has messages. 400 where the template refuses them.
ApiStatus EncodeConversation(const ServedModel& model, const ChatRequest& request, ChatPrompt* prompt);

// What holds the answer to request.response_format, or to a call that is required, from the end of the model's
// reasoning on; empty: nothing. 400 for a schema that is not supported. `output`: of the request's ChatPrompt; empty
// for completions.
ApiStatus MakeConstraint(const std::shared_ptr<ServedModel>& model, const ChatRequest& request,
                         const ChatOutputOptions& output, AnswerPlan* plan);

}  // namespace deepshock
