// SPDX-License-Identifier: Apache-2.0
#include "serve/call.h"

#include <fmt/format.h>

#include <utility>

namespace deepshock {

Call::Call(HttpRequest request, std::shared_ptr<HttpReply> reply, std::string id, HttpHeaders headers,
           Log log)
    : request_(std::move(request)),
      reply_(std::move(reply)),
      id_(std::move(id)),
      headers_(std::move(headers)),
      log_(std::move(log)) {
  entry_.id = id_;
  entry_.remote = request_.remote;
  entry_.method = request_.method;
  entry_.path = request_.path;
}

Call::~Call() {
  entry_.total_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  entry_.key = key_name;
  if (log_) log_(entry_);
}

HttpHeaders Call::WithOwn(HttpHeaders headers) const {
  headers.insert(headers.end(), headers_.begin(), headers_.end());
  headers.emplace_back("x-request-id", id_);
  return headers;
}

void Call::Send(HttpResponse response) {
  {
    const std::lock_guard lock(mutex_);
    entry_.status = response.status;
  }
  response.headers = WithOwn(std::move(response.headers));
  reply_->Send(std::move(response));
}

HttpResponse ErrorResponse(const ApiError& error, ErrorStyle style, std::string_view request_id,
                           HttpHeaders headers) {
  if (error.status == 401) headers.emplace_back("WWW-Authenticate", "Bearer");
  return {error.status,
          style == ErrorStyle::kAnthropic ? AnthropicErrorBody(error, request_id) : OpenAiErrorBody(error),
          "application/json", std::move(headers)};
}

void Call::SendError(const ApiError& error, HttpHeaders headers) {
  NoteError(error);
  Send(ErrorResponse(error, error_style, id_, std::move(headers)));
}

void Call::BeginEvents() {
  {
    const std::lock_guard lock(mutex_);
    entry_.status = 200;
  }
  // The last one keeps nginx from collecting events.
  reply_->Begin(
      {200, "", "text/event-stream", WithOwn({{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}})});
}

void Call::NoteError(const ApiError& error) {
  const std::lock_guard lock(mutex_);
  entry_.error = error.message;
}

void Call::SetModel(const std::string& name) {
  const std::lock_guard lock(mutex_);
  entry_.model = name;
}

void Call::AddResult(const GenerationResult& result) {
  const std::lock_guard lock(mutex_);
  ++entry_.choices;
  entry_.prompt_tokens += result.prompt_tokens;
  entry_.cached_prompt_tokens += result.cached_prompt_tokens;
  entry_.output_tokens += static_cast<int64_t>(result.tokens.size());
  entry_.queue_ms = std::max(entry_.queue_ms, result.queue_ms);
  entry_.first_token_ms = std::max(entry_.first_token_ms, result.first_token_ms);
}

void Call::NoteClientLeft() {
  const std::lock_guard lock(mutex_);
  entry_.client_left = true;
}

void AppendJsonString(std::string_view text, std::string* out) {
  out->push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        *out += "\\\"";
        break;
      case '\\':
        *out += "\\\\";
        break;
      case '\n':
        *out += "\\n";
        break;
      case '\r':
        *out += "\\r";
        break;
      case '\t':
        *out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          *out += fmt::format("\\u{:04x}", static_cast<int>(c));
        } else {
          out->push_back(c);
        }
    }
  }
  out->push_back('"');
}

}  // namespace deepshock
