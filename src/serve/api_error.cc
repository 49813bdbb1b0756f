// SPDX-License-Identifier: Apache-2.0
#include "serve/api_error.h"

#include <cctype>

#include "base/json.h"
#include "base/utf8.h"

namespace deepshock {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string Dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

// https://platform.openai.com/docs/guides/error-codes
const char* OpenAiType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

// https://docs.anthropic.com/en/api/errors
const char* AnthropicType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

std::string Cut(std::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  return std::string(text.substr(0, CompleteUtf8Prefix(text.substr(0, most)))) + "...";
}

OrderedJson OrNull(const std::string& text) { return text.empty() ? OrderedJson() : OrderedJson(text); }

}  // namespace

ApiError InvalidValue(std::string_view param, std::string_view what) {
  const std::string name = Cut(param, 200);
  return {400, Fail("{}: {}", name, Cut(what, 400)).message(), name, "invalid_value"};
}

ApiError InvalidFrom(const Status& status) {
  ApiError error{400, status.message(), "", "invalid_value"};
  // A field's name is letters, digits and _ up to the first ": ".
  const size_t colon = error.message.find(": ");
  if (colon == std::string::npos) return error;
  const std::string name = error.message.substr(0, colon);
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') return error;
  }
  error.param = name;
  return error;
}

std::string OpenAiErrorBody(const ApiError& error) {
  return Dump({{"error",
                {{"message", error.message},
                 {"type", OpenAiType(error.status)},
                 {"param", OrNull(error.param)},
                 {"code", OrNull(error.code)}}}});
}

std::string AnthropicErrorBody(const ApiError& error, std::string_view request_id) {
  OrderedJson json = {{"type", "error"},
                      {"error", {{"type", AnthropicType(error.status)}, {"message", error.message}}}};
  if (!request_id.empty()) json["request_id"] = std::string(request_id);
  return Dump(json);
}

}  // namespace deepshock
