// SPDX-License-Identifier: Apache-2.0
// SendShaped: answers a checked request of one answer in the shape of an API: /v1/responses and /v1/messages.
#pragma once

#include <functional>
#include <memory>

#include "serve/answer_shape.h"
#include "serve/call.h"
#include "serve/chat_request.h"
#include "serve/server.h"

namespace deepshock {

using MakeShape = std::function<std::unique_ptr<AnswerShape>(const AnswerStart& start)>;
void SendShaped(Server& server, std::shared_ptr<Call> call, const ChatRequest& request,
                const MakeShape& make_shape);

}  // namespace deepshock
