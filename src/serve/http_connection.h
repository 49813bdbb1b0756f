// SPDX-License-Identifier: Apache-2.0
// HttpConnection: one client, from accept to close. Everything happens on the connection's strand. A read is
// always outstanding, so that a client that goes away while its answer is computed is noticed at once; what
// it sends meanwhile waits in the buffer, up to a limit. Only http_server.cc includes this.
#pragma once

#include <atomic>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/http_message.h"
#include "serve/http_server.h"

namespace deepshock {

namespace asio = boost::asio;
namespace http = boost::beast::http;

// What connections share. It lives as long as one of them or of their replies does.
struct HttpShared {
  HttpShared(HttpServerOptions o, HttpHandler& h) : options(std::move(o)), handler(h) {}
  HttpServerOptions options;
  HttpHandler& handler;
  asio::io_context io;
  std::atomic<int> num_connections{0};
  std::atomic<bool> stopping{false};

  // Runs `task` on an I/O thread, after those given before. What comes in a burst, as a step of the engine has a
  // piece for every stream, wakes one thread once. Any thread.
  void Give(std::function<void()> task);
  // Nothing runs on `io` any more: what is given is dropped.
  void DropTasks();

 private:
  void RunTasks();
  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;
  bool running_ = false;  // RunTasks is under way, or will be
  bool stopped_ = false;
};

// Without the kind of stream: what a reply and the server need of a connection.
class HttpConnectionBase {
 public:
  virtual ~HttpConnectionBase() = default;
  virtual void Start() = 0;
  // The server stops: closes now when no answer is under way, else after it.
  virtual void Drain() = 0;
  virtual void Close() = 0;
};

template <typename Stream>
class HttpConnection final : public HttpConnectionBase,
                             public std::enable_shared_from_this<HttpConnection<Stream>> {
 public:
  HttpConnection(Stream stream, std::shared_ptr<HttpShared> shared, bool too_many);
  ~HttpConnection() override;
  void Start() override;
  void Drain() override;
  void Close() override;

  // What a reply does, on the strand. `number` is that of the request: late words about another are ignored.
  void SendWhole(uint64_t number, HttpResponse response);
  void BeginAnswer(uint64_t number, const HttpResponse& head);
  void WritePiece(uint64_t number, const std::string& piece);
  void EndAnswer(uint64_t number);
  void AbandonAnswer(uint64_t number);
  void SetOnClosed(uint64_t number, std::function<void()> closed);
  auto executor() { return stream_.get_executor(); }
  HttpShared& shared() { return *shared_; }

 private:
  using Parser = http::request_parser<http::string_body>;
  enum class State { kHead, kBody, kAnswering, kClosing };

  void Handshake();
  void NextRequest();
  void Read();
  void OnRead(boost::system::error_code error, size_t num_bytes);
  // Goes on with what is in the buffer.
  void Parse();
  void OnHead();
  void OnRequest();
  void OnParseError(boost::system::error_code error);
  // A request that is not read to its end: answered, then closed.
  void Reject(HttpResponse response);
  HttpRequest TakeHead() const;

  void Queue(std::string bytes);
  void Flush();
  void OnWritten(boost::system::error_code error);
  void AfterAnswer();
  void SetDeadline(std::chrono::milliseconds time);
  void ClearDeadline();
  std::string HeadText(const HttpResponse& response, std::optional<size_t> body_bytes) const;

  std::shared_ptr<HttpShared> shared_;
  Stream stream_;
  asio::steady_timer timer_;
  uint64_t deadline_number_ = 0;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  State state_ = State::kHead;
  uint64_t number_ = 0;  // of the request
  bool reading_ = false, writing_ = false, closed_ = false, too_many_ = false;
  // Of the answer:
  bool begun_ = false, chunked_ = false, head_only_ = false, keep_alive_ = false, http_1_0_ = false;
  bool close_after_write_ = false;
  std::string unsent_, sending_;
  std::function<void()> on_closed_;
  std::string remote_;
};

using PlainStream = asio::ip::tcp::socket;
using TlsStream = asio::ssl::stream<asio::ip::tcp::socket>;
extern template class HttpConnection<PlainStream>;
extern template class HttpConnection<TlsStream>;

}  // namespace deepshock
