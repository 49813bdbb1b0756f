// SPDX-License-Identifier: Apache-2.0
// ApiError: why a request is refused, as the HTTP APIs report it: a status, one line, the field at fault.
// Pure data; made by the parsers of requests, written by whoever answers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace deepshock {

struct ApiError {
  int status = 400;     // HTTP's
  std::string message;  // one line
  std::string param;    // the field at fault, as "messages[2].content"; empty: none
  std::string code;     // for programs: "unknown_parameter", "context_length_exceeded"; empty: none
};

// None: success.
using ApiStatus = std::optional<ApiError>;

// The request's field `param` is wrong: status 400, "PARAM: WHAT", cut where what the request holds makes it
// long.
ApiError InvalidValue(std::string_view param, std::string_view what);
template <typename... Args>
ApiError InvalidField(std::string_view param, fmt::format_string<Args...> format, Args&&... args) {
  return InvalidValue(param, fmt::format(format, std::forward<Args>(args)...));
}
// An error of a layer below whose message begins with the field's name: "top_p: expected ...".
ApiError InvalidFrom(const Status& status);

// OpenAI's error object: {"error": {"message", "type", "param", "code"}}.
std::string OpenAiErrorBody(const ApiError& error);
// Anthropic's: {"type": "error", "error": {"type", "message"}, "request_id"}.
std::string AnthropicErrorBody(const ApiError& error, std::string_view request_id);

}  // namespace deepshock
