// SPDX-License-Identifier: Apache-2.0
// AnswerShape: one answer in the shape of an API, as a stream of server-sent events and as one object. Makes
// text only; whoever answers sends it. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "deepshock/generation.h"
#include "serve/api_error.h"
#include "serve/chat_output.h"

namespace deepshock {

struct AnswerStart {
  std::string id;  // unique, of letters and digits: "resp_" or "msg_" comes in front
  std::string model;
  int64_t created = 0;  // seconds since 1970
  int64_t prompt_tokens = 0;
};

struct AnswerEnd {
  FinishReason finish_reason = FinishReason::kStop;
  std::string stop;  // the stop string found; empty: none
  int64_t prompt_tokens = 0, cached_prompt_tokens = 0, output_tokens = 0, reasoning_tokens = 0;
  std::string deepshock;  // DeepshockJson of the answer; empty: none
};

class AnswerShape {
 public:
  virtual ~AnswerShape() = default;
  // Each returns the server-sent events to send now, perhaps none.
  virtual std::string Begin() = 0;
  virtual std::string Write(const std::vector<OutputEvent>& events) = 0;
  virtual std::string End(const AnswerEnd& end) = 0;
  // Instead of End.
  virtual std::string Fail(const ApiError& error) = 0;
  // The whole answer as one JSON object. After End.
  virtual std::string Body() const = 0;
};

// "event: TYPE\ndata: {...}\n\n", where the type is the object's own.
std::string ServerSentEvent(const nlohmann::ordered_json& event);
// JSON on one line; invalid UTF-8 becomes U+FFFD.
std::string DumpJson(const nlohmann::ordered_json& json);

}  // namespace deepshock
