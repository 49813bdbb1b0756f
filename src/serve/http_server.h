// SPDX-License-Identifier: Apache-2.0
// HttpServer: HTTP/1.1 on TCP, with TLS where it has a certificate. A few threads serve all connections; one
// that waits costs memory only. Refuses by itself: malformed requests (400), headers and bodies over their
// limits (431, 413), clients that send or read too slowly (closed), more connections than allowed (503).
// Create and Stop from one thread; handlers are called from the server's threads, several at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "serve/http_message.h"

namespace deepshock {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: any free one
  // One writes for thousands of streams; a second takes turns with it over every step's pieces, for 10 % of a
  // small model's speed on two cores.
  int num_threads = 1;
  size_t max_header_bytes = 32u << 10;
  size_t max_body_bytes = 32u << 20;
  int max_connections = 4096;
  std::chrono::milliseconds head_timeout{30'000};  // from the connection, or the last answer, to a whole head
  std::chrono::milliseconds body_timeout{60'000};  // for the whole body
  std::chrono::milliseconds write_timeout{60'000};  // without a byte taken by a client that has bytes to take
  size_t max_unsent_bytes = 8u << 20;  // of an answer that is not read; then its client is sent away
  std::string certificate, key;        // files in PEM format: TLS; both or neither
};

class HttpServer {
 public:
  // Listens and serves until Stop. `handler` must outlive this.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options, HttpHandler& handler);
  virtual ~HttpServer() = default;

  virtual int port() const = 0;
  virtual int num_connections() const = 0;
  // Takes no more connections and requests, waits for answers under way for at most `patience`, then closes
  // what is left. True when nothing was cut off.
  virtual bool Stop(std::chrono::milliseconds patience) = 0;
};

}  // namespace deepshock
