// SPDX-License-Identifier: Apache-2.0
// The bodies of requests, any bytes: the first byte chooses the API. What is refused has one line of bounded
// length; what is accepted is in range.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "base/utf8.h"
#include "serve/api_error.h"
#include "serve/chat_request.h"
#include "serve/messages_api.h"
#include "serve/responses_api.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto responses = [](std::string_view text, ChatRequest* chat) {
    ResponsesRequest parsed;
    const ApiStatus error = ParseResponses(text, &parsed);
    *chat = parsed.chat;
    return error;
  };
  ApiStatus (*const parsers[])(std::string_view, ChatRequest*) = {ParseChatCompletion, ParseCompletion,
                                                                  responses, ParseMessages, ParseCountTokens};
  ChatRequest request;
  if (const ApiStatus error = parsers[data[0] % std::size(parsers)](body, &request)) {
    DS_CHECK(error->status >= 400 && error->status < 500, "a request at fault is the client's");
    DS_CHECK(!error->message.empty() && error->message.find('\n') == std::string::npos,
             "an error is one line");
    DS_CHECK(error->message.size() < 2000 && error->param.size() < 300, "an error is short");
    DS_CHECK(FindInvalidUtf8(error->message) == std::string_view::npos, "an error is valid UTF-8");
    DS_CHECK(ParseJson(OpenAiErrorBody(*error)).ok(), "an error's body is JSON");
    return 0;
  }
  DS_CHECK((request.messages == nullptr) != request.prompts.empty(), "either messages or prompts");
  DS_CHECK(request.num_choices >= 1 && request.num_choices <= kMaxChoices, "n is in range");
  DS_CHECK(request.num_logprobs >= -1 && request.num_logprobs <= kMaxTopLogprobs, "logprobs are in range");
  DS_CHECK(request.tool_choice != ToolChoice::kRequired || request.tools != nullptr, "a call needs tools");
  if (request.messages != nullptr) {
    for (const auto& message : *request.messages) {
      DS_CHECK(message.contains("content"), "every message has content");
      DS_CHECK(message["content"].is_string() || message["content"].is_null(), "content is text");
    }
  }
  return 0;
}
