// SPDX-License-Identifier: Apache-2.0
// What crosses the border between the transport and everything above it: a whole request, and the way back
// to its client. The transport (http_server.h) makes both; tests make their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace deepshock {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;   // "POST"
  std::string path;     // "/v1/models", without the query, as it came: not percent-decoded
  std::string query;    // after the "?"
  HttpHeaders headers;  // names in lower case
  std::string body;     // empty where HttpHandler::Refuse sees it
  std::string remote;   // the client's address, without its port

  // The first header of that name (in lower case); empty where there is none.
  std::string_view Header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
  }
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  HttpHeaders headers = {};  // besides Content-Type, Content-Length and Connection
};

// The answer to one request: Send once, or Begin, any number of Writes, and End. From any thread; nothing
// blocks. Dropped without an answer the client gets status 500, in the middle of one a closed connection.
class HttpReply {
 public:
  virtual ~HttpReply() = default;
  virtual void Send(HttpResponse response) = 0;
  // Of `head` everything but its body. The client gets what is written at once.
  virtual void Begin(HttpResponse head) = 0;
  virtual void Write(std::string piece) = 0;
  virtual void End() = 0;
  // `closed` is called once, from another thread, if the client goes away (or reads so slowly that it is sent
  // away) before the end of the answer; at once if it is gone already.
  virtual void OnClosed(std::function<void()> closed) = 0;
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Sees a request before its body is read; an answer given here ends the connection.
  virtual std::optional<HttpResponse> Refuse(const HttpRequest& head) = 0;
  virtual void Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) = 0;
  // What goes back where the transport itself finds fault: a malformed, too large or too slow request.
  virtual HttpResponse Fault(int status, const std::string& message) = 0;
};

}  // namespace deepshock
