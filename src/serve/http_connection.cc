// SPDX-License-Identifier: Apache-2.0
#include "serve/http_connection.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/field.hpp>
#include <cctype>
#include <ctime>
#include <type_traits>
#include <utility>

namespace deepshock {
namespace {

constexpr size_t kReadBytes = 16u << 10;
constexpr size_t kMaxAheadBytes = 64u << 10;  // sent by a client before it has its answer
constexpr std::chrono::milliseconds kLinger{2'000}, kLingerAtStop{200};

template <typename Stream>
auto& Lowest(Stream& stream) {
  if constexpr (std::is_same_v<Stream, PlainStream>) {
    return stream;
  } else {
    return stream.next_layer();
  }
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

// Header values come from our own code, but may quote what a client sent.
std::string OneLine(std::string_view value) {
  std::string line(value);
  std::replace_if(line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

template <typename Stream>
class Reply final : public HttpReply {
 public:
  Reply(std::shared_ptr<HttpConnection<Stream>> connection, uint64_t number)
      : connection_(std::move(connection)), number_(number) {}
  ~Reply() override {
    if (!ended_.exchange(true)) Post([](auto& c, uint64_t n) { c.AbandonAnswer(n); });
  }
  void Send(HttpResponse response) override {
    if (ended_.exchange(true)) return;
    Post([response = std::move(response)](auto& c, uint64_t n) mutable {
      c.SendWhole(n, std::move(response));
    });
  }
  void Begin(HttpResponse head) override {
    Post([head = std::move(head)](auto& c, uint64_t n) { c.BeginAnswer(n, head); });
  }
  void Write(std::string piece) override {
    Post([piece = std::move(piece)](auto& c, uint64_t n) { c.WritePiece(n, piece); });
  }
  void End() override {
    if (!ended_.exchange(true)) Post([](auto& c, uint64_t n) { c.EndAnswer(n); });
  }
  void OnClosed(std::function<void()> closed) override {
    Post([closed = std::move(closed)](auto& c, uint64_t n) mutable { c.SetOnClosed(n, std::move(closed)); });
  }

 private:
  template <typename Action>
  void Post(Action action) {
    connection_->shared().Give([connection = connection_, number = number_, action = std::move(action)]() mutable {
      const auto executor = connection->executor();
      asio::dispatch(executor,
                     [connection = std::move(connection), number, action = std::move(action)]() mutable {
                       action(*connection, number);
                     });
    });
  }

  std::shared_ptr<HttpConnection<Stream>> connection_;
  uint64_t number_;
  std::atomic<bool> ended_{false};
};

}  // namespace

void HttpShared::Give(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    tasks_.push_back(std::move(task));
    if (std::exchange(running_, true)) return;
  }
  asio::post(io, [this] { RunTasks(); });
}

void HttpShared::RunTasks() {
  std::vector<std::function<void()>> tasks;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      running_ = !tasks_.empty();
      if (!running_) return;
      tasks.swap(tasks_);
    }
    for (std::function<void()>& task : tasks) task();
    tasks.clear();
  }
}

void HttpShared::DropTasks() {
  std::vector<std::function<void()>> dropped;  // they hold connections, which hold this
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  dropped.swap(tasks_);
}

template <typename Stream>
HttpConnection<Stream>::HttpConnection(Stream stream, std::shared_ptr<HttpShared> shared, bool too_many)
    : shared_(std::move(shared)),
      stream_(std::move(stream)),
      timer_(stream_.get_executor()),
      too_many_(too_many) {
  boost::system::error_code error;
  const auto endpoint = Lowest(stream_).remote_endpoint(error);
  if (!error) remote_ = endpoint.address().to_string();
  Lowest(stream_).set_option(asio::ip::tcp::no_delay(true), error);
  ++shared_->num_connections;
}

template <typename Stream>
HttpConnection<Stream>::~HttpConnection() {
  if (!closed_) --shared_->num_connections;
}

template <typename Stream>
void HttpConnection<Stream>::Start() {
  asio::dispatch(executor(), [self = this->shared_from_this()] { self->Handshake(); });
}

template <typename Stream>
void HttpConnection<Stream>::Drain() {
  asio::dispatch(executor(), [self = this->shared_from_this()] {
    self->keep_alive_ = false;
    // A request that is half here is half here for ever: nobody waits for it.
    if (self->state_ == State::kHead || self->state_ == State::kBody) self->Close();
  });
}

template <typename Stream>
void HttpConnection<Stream>::Close() {
  if (closed_) return;
  closed_ = true;
  --shared_->num_connections;
  state_ = State::kClosing;
  boost::system::error_code ignored;
  ClearDeadline();
  Lowest(stream_).close(ignored);
  if (on_closed_) std::exchange(on_closed_, nullptr)();
}

template <typename Stream>
void HttpConnection<Stream>::Handshake() {
  if constexpr (std::is_same_v<Stream, PlainStream>) {
    NextRequest();
    Read();
  } else {
    SetDeadline(shared_->options.head_timeout);
    stream_.async_handshake(asio::ssl::stream_base::server,
                            [self = this->shared_from_this()](boost::system::error_code error) {
                              if (error || self->closed_) return self->Close();
                              self->NextRequest();
                              self->Read();
                            });
  }
}

template <typename Stream>
void HttpConnection<Stream>::SetDeadline(std::chrono::milliseconds time) {
  const uint64_t number = ++deadline_number_;
  timer_.expires_after(time);
  timer_.async_wait([self = this->shared_from_this(), number](boost::system::error_code error) {
    if (!error && number == self->deadline_number_) self->Close();
  });
}

template <typename Stream>
void HttpConnection<Stream>::ClearDeadline() {
  ++deadline_number_;
  timer_.cancel();
}

template <typename Stream>
void HttpConnection<Stream>::NextRequest() {
  ++number_;
  state_ = State::kHead;
  begun_ = chunked_ = head_only_ = false;
  on_closed_ = nullptr;
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(shared_->options.max_header_bytes));
  parser_->body_limit(shared_->options.max_body_bytes);
  SetDeadline(shared_->options.head_timeout);
  if (too_many_) {
    Reject(shared_->handler.Fault(
        503, fmt::format("too many connections: expected at most {}", shared_->options.max_connections)));
  }
}

template <typename Stream>
void HttpConnection<Stream>::Read() {
  if (reading_ || closed_) return;
  if (state_ == State::kAnswering && buffer_.size() >= kMaxAheadBytes) return;
  reading_ = true;
  stream_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = this->shared_from_this()](boost::system::error_code error, size_t n) {
                            self->OnRead(error, n);
                          });
}

template <typename Stream>
void HttpConnection<Stream>::OnRead(boost::system::error_code error, size_t num_bytes) {
  reading_ = false;
  if (closed_) return;
  if (error) return Close();
  buffer_.commit(num_bytes);
  if (state_ == State::kClosing) buffer_.consume(buffer_.size());
  if (state_ == State::kHead || state_ == State::kBody) Parse();
  Read();
}

template <typename Stream>
void HttpConnection<Stream>::Parse() {
  while (state_ == State::kHead || state_ == State::kBody) {
    if (buffer_.size() == 0) return;
    boost::system::error_code error;
    const size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    if (error == http::error::need_more) {
      // The parser holds no part of a head itself, so a head that does not fit is seen here.
      if (state_ == State::kHead && buffer_.size() > shared_->options.max_header_bytes) {
        return OnParseError(http::error::header_limit);
      }
      return;
    }
    if (error) return OnParseError(error);
    if (state_ == State::kHead && parser_->is_header_done()) OnHead();
    if (state_ == State::kBody && parser_->is_done()) OnRequest();
  }
}

template <typename Stream>
HttpRequest HttpConnection<Stream>::TakeHead() const {
  const auto& message = parser_->get();
  HttpRequest request;
  request.method = std::string(View(message.method_string()));
  const std::string_view target = View(message.target());
  const size_t question = target.find('?');
  request.path = std::string(target.substr(0, question));
  if (question != std::string_view::npos) request.query = std::string(target.substr(question + 1));
  for (const auto& field : message) {
    request.headers.emplace_back(LowerCase(View(field.name_string())), std::string(View(field.value())));
  }
  request.remote = remote_;
  return request;
}

template <typename Stream>
void HttpConnection<Stream>::OnHead() {
  state_ = State::kBody;
  HttpRequest head = TakeHead();
  http_1_0_ = parser_->get().version() < 11;
  keep_alive_ = parser_->keep_alive() && !shared_->stopping;
  head_only_ = head.method == "HEAD";
  if (auto refused = shared_->handler.Refuse(head)) return Reject(*std::move(refused));
  SetDeadline(shared_->options.body_timeout);
  parser_->eager(true);
  if (!parser_->is_done() && LowerCase(head.Header("expect")) == "100-continue") {
    Queue("HTTP/1.1 100 Continue\r\n\r\n");
  }
}

template <typename Stream>
void HttpConnection<Stream>::OnRequest() {
  state_ = State::kAnswering;
  ClearDeadline();
  HttpRequest request = TakeHead();
  if (head_only_) request.method = "GET";
  request.body = std::move(parser_->get().body());
  auto reply = std::make_shared<Reply<Stream>>(this->shared_from_this(), number_);
  shared_->handler.Handle(std::move(request), std::move(reply));
}

template <typename Stream>
void HttpConnection<Stream>::OnParseError(boost::system::error_code error) {
  int status = 400;
  std::string message = "malformed HTTP request: " + error.message();
  if (error == http::error::header_limit) {
    status = 431;
    message = fmt::format("request head: expected at most {} bytes", shared_->options.max_header_bytes);
  } else if (error == http::error::body_limit) {
    status = 413;
    message = fmt::format("request body: expected at most {} bytes", shared_->options.max_body_bytes);
  }
  Reject(shared_->handler.Fault(status, message));
}

template <typename Stream>
void HttpConnection<Stream>::Reject(HttpResponse response) {
  keep_alive_ = false;
  state_ = State::kAnswering;
  SendWhole(number_, std::move(response));
}

template <typename Stream>
std::string HttpConnection<Stream>::HeadText(const HttpResponse& response,
                                             std::optional<size_t> body_bytes) const {
  const auto status = static_cast<http::status>(response.status);
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\nServer: deepshock\r\nDate: {:%a, %d %b %Y %H:%M:%S} GMT\r\n",
                  response.status, View(http::obsolete_reason(status)), fmt::gmtime(std::time(nullptr)));
  if (!response.content_type.empty()) text += fmt::format("Content-Type: {}\r\n", response.content_type);
  for (const auto& [name, value] : response.headers) text += fmt::format("{}: {}\r\n", name, OneLine(value));
  if (body_bytes) {
    text += fmt::format("Content-Length: {}\r\n", *body_bytes);
  } else if (chunked_) {
    text += "Transfer-Encoding: chunked\r\n";
  }
  text += keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return text;
}

template <typename Stream>
void HttpConnection<Stream>::SendWhole(uint64_t number, HttpResponse response) {
  if (number != number_ || state_ != State::kAnswering || begun_) return;
  begun_ = true;
  if (shared_->stopping) keep_alive_ = false;
  std::string bytes = HeadText(response, response.body.size());
  if (!head_only_) bytes += response.body;
  Queue(std::move(bytes));
  AfterAnswer();
}

template <typename Stream>
void HttpConnection<Stream>::BeginAnswer(uint64_t number, const HttpResponse& head) {
  if (number != number_ || state_ != State::kAnswering || begun_) return;
  begun_ = true;
  chunked_ = !http_1_0_;
  if (!chunked_ || shared_->stopping) keep_alive_ = false;
  Queue(HeadText(head, std::nullopt));
}

template <typename Stream>
void HttpConnection<Stream>::WritePiece(uint64_t number, const std::string& piece) {
  if (number != number_ || state_ != State::kAnswering || !begun_ || head_only_ || piece.empty()) return;
  if (unsent_.size() + sending_.size() > shared_->options.max_unsent_bytes) return Close();
  Queue(chunked_ ? fmt::format("{:x}\r\n{}\r\n", piece.size(), piece) : piece);
}

template <typename Stream>
void HttpConnection<Stream>::EndAnswer(uint64_t number) {
  if (number != number_ || state_ != State::kAnswering || !begun_) return;
  if (chunked_ && !head_only_) Queue("0\r\n\r\n");
  AfterAnswer();
}

template <typename Stream>
void HttpConnection<Stream>::AbandonAnswer(uint64_t number) {
  if (number != number_ || state_ != State::kAnswering) return;
  if (begun_) return Close();
  keep_alive_ = false;
  SendWhole(number, shared_->handler.Fault(500, "the request ended without an answer"));
}

template <typename Stream>
void HttpConnection<Stream>::SetOnClosed(uint64_t number, std::function<void()> closed) {
  if (number != number_) return;
  if (closed_) return closed();
  if (state_ == State::kAnswering) on_closed_ = std::move(closed);
}

template <typename Stream>
void HttpConnection<Stream>::Queue(std::string bytes) {
  if (closed_) return;
  unsent_ += bytes;
  Flush();
}

template <typename Stream>
void HttpConnection<Stream>::Flush() {
  if (writing_ || closed_) return;
  if (sending_.empty()) sending_.swap(unsent_);
  if (sending_.empty()) return;
  writing_ = true;
  SetDeadline(shared_->options.write_timeout);
  // As much as the client takes at once, so that one who takes little, but takes, is not cut off.
  stream_.async_write_some(asio::buffer(sending_),
                           [self = this->shared_from_this()](boost::system::error_code error, size_t n) {
                             self->sending_.erase(0, n);
                             self->OnWritten(error);
                           });
}

template <typename Stream>
void HttpConnection<Stream>::OnWritten(boost::system::error_code error) {
  writing_ = false;
  if (closed_) return;
  if (error) return Close();
  if (!sending_.empty() || !unsent_.empty()) return Flush();
  if (state_ == State::kAnswering) return ClearDeadline();
  if (state_ == State::kHead) return SetDeadline(shared_->options.head_timeout);
  if (state_ == State::kBody) return SetDeadline(shared_->options.body_timeout);
  // Closing at once would reset the connection, and the client might never see its answer.
  boost::system::error_code ignored;
  Lowest(stream_).shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  SetDeadline(shared_->stopping ? kLingerAtStop : kLinger);
}

template <typename Stream>
void HttpConnection<Stream>::AfterAnswer() {
  on_closed_ = nullptr;
  if (closed_) return;
  if (!keep_alive_) {
    state_ = State::kClosing;
    buffer_.consume(buffer_.size());
    if (!writing_) OnWritten({});
  } else {
    NextRequest();
    Parse();
  }
  Read();
}

template class HttpConnection<PlainStream>;
template class HttpConnection<TlsStream>;

}  // namespace deepshock
