// SPDX-License-Identifier: Apache-2.0
// Call: one HTTP request on its way through the server: what was asked, by whom, the way back, and its line
// in the log, which is written when the call ends. Shared by whoever works on the answer. Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "serve/access.h"
#include "serve/api_error.h"
#include "serve/http_message.h"
#include "serve/model_registry.h"

namespace deepshock {

// What the log tells of a call. Never what was asked or answered.
struct CallLog {
  std::string id, key, remote, method, path, model, error;
  int status = 0;
  int64_t choices = 0, prompt_tokens = 0, cached_prompt_tokens = 0, output_tokens = 0;
  double queue_ms = 0, first_token_ms = 0, total_ms = 0;
  bool client_left = false;
};

enum class ErrorStyle { kOpenAi, kAnthropic };
// The error in the API's own form.
HttpResponse ErrorResponse(const ApiError& error, ErrorStyle style, std::string_view request_id,
                           HttpHeaders headers = {});

class Call {
 public:
  using Log = std::function<void(const CallLog&)>;
  Call(HttpRequest request, std::shared_ptr<HttpReply> reply, std::string id, HttpHeaders headers, Log log);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const HttpRequest& request() const { return request_; }
  const std::string& id() const { return id_; }  // "req-..." as in the header x-request-id
  HttpReply& reply() { return *reply_; }

  // Each answers and ends the call.
  void Send(HttpResponse response);
  void SendJson(std::string body) { Send({200, std::move(body)}); }
  void SendError(const ApiError& error, HttpHeaders headers = {});
  // A stream of server-sent events; Write and End of reply() go on from here.
  void BeginEvents();
  // In the middle of a stream, where no status can be sent any more.
  void NoteError(const ApiError& error);

  // Set before the answer begins.
  ErrorStyle error_style = ErrorStyle::kOpenAi;
  std::unique_ptr<Access::Lease> lease;
  std::string key_name;  // empty: none

  // For the log.
  void SetModel(const std::string& name);
  void AddResult(const GenerationResult& result);
  void NoteClientLeft();

 private:
  HttpHeaders WithOwn(HttpHeaders headers) const;

  HttpRequest request_;
  std::shared_ptr<HttpReply> reply_;
  const std::string id_;
  const HttpHeaders headers_;  // of every answer
  const Log log_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::mutex mutex_;  // of entry_
  CallLog entry_;
};

// A JSON string with its quotes. `text` is UTF-8.
void AppendJsonString(std::string_view text, std::string* out);

}  // namespace deepshock
