// SPDX-License-Identifier: Apache-2.0
// Any bytes to a server's port: the transport answers or closes, and forgets the connection. The server runs
// in this process, so that the fuzzer sees its coverage; each input costs some milliseconds of waiting.
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

#include "base/check.h"
#include "serve/http_server.h"
#include "serve/http_test_client.h"

namespace {

using namespace deepshock;

class Handler final : public HttpHandler {
 public:
  std::optional<HttpResponse> Refuse(const HttpRequest& head) override {
    if (head.path == "/refused") return HttpResponse{403, "no"};
    return std::nullopt;
  }
  void Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) override {
    if (request.path == "/dropped") return;
    if (request.path != "/stream") return reply->Send({200, request.query + request.body, "text/plain"});
    reply->Begin({200, "", "text/event-stream", {{"x-echo", request.query}}});
    reply->Write(std::move(request.body));
    reply->End();
  }
  HttpResponse Fault(int status, const std::string& message) override {
    return {status, message, "text/plain"};
  }
};

HttpServer& Start() {
  static Handler handler;
  static const auto server = [] {
    HttpServerOptions options;
    options.port = 0;
    options.num_threads = 1;
    options.max_header_bytes = 2048;
    options.max_body_bytes = 4096;
    options.head_timeout = options.body_timeout = options.write_timeout = std::chrono::milliseconds(200);
    auto started = HttpServer::Start(options, handler);
    DS_CHECK(started.ok(), "the server starts");
    return std::move(started).value();
  }();
  return *server;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  HttpServer& server = Start();
  {
    RawClient client(server.port());
    if (!client.connected()) return 0;  // the kernel's queue is full for a moment
    client.Send({reinterpret_cast<const char*>(data), size});
    const std::string answer = client.ReadUntil("\r\n\r\n", 3);
    DS_CHECK(answer.empty() || answer.starts_with("HTTP/1.1 "), "an answer begins with its status");
    client.ReadAll(1);
  }
  for (int i = 0; i < 5000 && server.num_connections() > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  DS_CHECK(server.num_connections() == 0, "a connection whose client is gone is forgotten");
  return 0;
}
