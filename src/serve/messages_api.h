// SPDX-License-Identifier: Apache-2.0
// Anthropic's /v1/messages for text and tools, and /v1/messages/count_tokens: requests as ChatRequest,
// answers and events. Facts: https://docs.anthropic.com/en/api/messages
#pragma once

#include <memory>
#include <string_view>

#include "serve/answer_shape.h"
#include "serve/chat_request.h"

namespace deepshock {

ApiStatus ParseMessages(std::string_view body, ChatRequest* request);
// The same without max_tokens and what concerns the answer.
ApiStatus ParseCountTokens(std::string_view body, ChatRequest* request);
std::unique_ptr<AnswerShape> NewMessagesShape(const AnswerStart& start);

}  // namespace deepshock
