// SPDX-License-Identifier: Apache-2.0
// POST /v1/messages and /v1/messages/count_tokens.
#include <fmt/format.h>

#include "serve/chat_prompt.h"
#include "serve/messages_api.h"
#include "serve/routes.h"
#include "serve/shaped_answer.h"

namespace deepshock {

void HandleMessages(Server& server, std::shared_ptr<Call> call) {
  ChatRequest request;
  if (const ApiStatus error = ParseMessages(call->request().body, &request)) return call->SendError(*error);
  SendShaped(server, std::move(call), request, NewMessagesShape);
}

void HandleCountTokens(Server& server, std::shared_ptr<Call> call) {
  ChatRequest request;
  std::shared_ptr<ServedModel> model;
  ChatPrompt prompt;
  ApiStatus error = ParseCountTokens(call->request().body, &request);
  if (!error) error = server.models().Find(request.model, &model);
  if (!error) error = EncodeConversation(*model, request, &prompt);
  if (error) return call->SendError(*error);
  call->SendJson(fmt::format("{{\"input_tokens\": {}}}", prompt.tokens.size()));
}

}  // namespace deepshock
