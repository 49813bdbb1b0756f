// SPDX-License-Identifier: Apache-2.0
// POST /v1/responses.
#include "serve/responses_api.h"
#include "serve/routes.h"
#include "serve/shaped_answer.h"

namespace deepshock {

void HandleResponses(Server& server, std::shared_ptr<Call> call) {
  ResponsesRequest request;
  if (const ApiStatus error = ParseResponses(call->request().body, &request)) return call->SendError(*error);
  SendShaped(server, std::move(call), request.chat,
             [&](const AnswerStart& start) { return NewResponsesShape(start, request.echo); });
}

}  // namespace deepshock
