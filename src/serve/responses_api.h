// SPDX-License-Identifier: Apache-2.0
// OpenAI's /v1/responses for text and functions: its requests as ChatRequest, its answers and events. Nothing
// is stored: previous_response_id, conversation and background are refused. Facts:
// https://platform.openai.com/docs/api-reference/responses
#pragma once

#include <memory>
#include <string_view>

#include "serve/answer_shape.h"
#include "serve/chat_request.h"

namespace deepshock {

struct ResponsesRequest {
  ChatRequest chat;
  SharedJson echo;  // the members of the response that say what was asked
};

ApiStatus ParseResponses(std::string_view body, ResponsesRequest* request);
std::unique_ptr<AnswerShape> NewResponsesShape(const AnswerStart& start, const SharedJson& echo);

}  // namespace deepshock
