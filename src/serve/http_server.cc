// SPDX-License-Identifier: Apache-2.0
#include "serve/http_server.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/strand.hpp>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "serve/http_connection.h"

namespace deepshock {
namespace {

using asio::ip::tcp;
using Strand = asio::strand<asio::io_context::executor_type>;

constexpr std::chrono::milliseconds kAcceptPause{100};  // when the process has no more file descriptors
constexpr std::chrono::milliseconds kPoll{20};

class Server final : public HttpServer {
 public:
  Server(const HttpServerOptions& options, HttpHandler& handler)
      : shared_(std::make_shared<HttpShared>(options, handler)),
        work_(io_.get_executor()),
        strand_(asio::make_strand(io_)),
        acceptor_(strand_),
        pause_(strand_) {}
  ~Server() override { Stop(std::chrono::milliseconds(0)); }

  Status Open() {
    DS_RETURN_IF_ERROR(LoadCertificate());
    const HttpServerOptions& options = shared_->options;
    boost::system::error_code error;
    const asio::ip::address address = asio::ip::make_address(Numeric(options.host), error);
    if (error) return Fail("host: expected an address such as 127.0.0.1 or ::, found \"{}\"", options.host);
    if (options.port < 0 || options.port > 65535) {
      return Fail("port: expected 0 to 65535, found {}", options.port);
    }
    const tcp::endpoint endpoint(address, static_cast<unsigned short>(options.port));
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(1024, error);
    if (error) return Fail("cannot listen on {} port {}: {}", options.host, options.port, error.message());
    port_ = acceptor_.local_endpoint(error).port();
    try {
      for (int i = 0; i < options.num_threads; ++i) threads_.emplace_back([this] { io_.run(); });
    } catch (const std::system_error& e) {
      return Fail("cannot start {} threads: {}", options.num_threads, e.what());
    }
    asio::post(strand_, [this] { Accept(); });
    return {};
  }

  int port() const override { return port_; }
  int num_connections() const override { return shared_->num_connections; }

  bool Stop(std::chrono::milliseconds patience) override {
    if (threads_.empty()) return true;
    shared_->stopping = true;
    asio::post(strand_, [this] {
      boost::system::error_code ignored;
      acceptor_.close(ignored);
      pause_.cancel();
    });
    ForEach([](HttpConnectionBase& connection) { connection.Drain(); });
    const auto end = std::chrono::steady_clock::now() + patience;
    while (shared_->num_connections > 0 && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(kPoll);
    }
    const bool drained = shared_->num_connections == 0;
    work_.reset();
    io_.stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    // Their strands are nobody's now: what is left is closed from here, and what waited for it let go.
    ForEach([](HttpConnectionBase& connection) { connection.Close(); });
    io_.restart();
    io_.poll();
    shared_->DropTasks();
    return drained;
  }

 private:
  static std::string Numeric(const std::string& host) { return host == "localhost" ? "127.0.0.1" : host; }

  Status LoadCertificate() {
    const HttpServerOptions& options = shared_->options;
    if (options.certificate.empty() != options.key.empty()) {
      return Fail("TLS: expected both a certificate and a key, found one of them");
    }
    if (options.certificate.empty()) return {};
    tls_.emplace(asio::ssl::context::tls_server);
    boost::system::error_code error;
    tls_->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                          asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                          asio::ssl::context::no_tlsv1_1,
                      error);
    if (!error) tls_->use_certificate_chain_file(options.certificate, error);
    if (error)
      return Fail("{}: cannot use it as a certificate (PEM): {}", options.certificate, error.message());
    tls_->use_private_key_file(options.key, asio::ssl::context::pem, error);
    if (error)
      return Fail("{}: cannot use it as the certificate's key (PEM): {}", options.key, error.message());
    return {};
  }

  void Accept() {
    acceptor_.async_accept(asio::make_strand(io_),
                           [this](boost::system::error_code error, tcp::socket socket) {
                             if (!acceptor_.is_open() || shared_->stopping) return;
                             if (error) {
                               // Out of descriptors, most likely: those that end make room.
                               pause_.expires_after(kAcceptPause);
                               pause_.async_wait([this](boost::system::error_code stopped) {
                                 if (!stopped) Accept();
                               });
                               return;
                             }
                             Add(std::move(socket));
                             Accept();
                           });
  }

  void Add(tcp::socket socket) {
    const bool too_many = shared_->num_connections >= shared_->options.max_connections;
    std::shared_ptr<HttpConnectionBase> connection;
    if (tls_) {
      connection =
          std::make_shared<HttpConnection<TlsStream>>(TlsStream(std::move(socket), *tls_), shared_, too_many);
    } else {
      connection = std::make_shared<HttpConnection<PlainStream>>(std::move(socket), shared_, too_many);
    }
    {
      const std::lock_guard lock(mutex_);
      // Those that are gone go in passing, so that the list stays about as long as there are connections.
      if (connections_.size() >= 2 * connections_kept_) {
        std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
        connections_kept_ = std::max<size_t>(64, connections_.size());
      }
      connections_.push_back(connection);
    }
    connection->Start();
  }

  template <typename Action>
  void ForEach(Action action) {
    std::vector<std::weak_ptr<HttpConnectionBase>> all;
    {
      const std::lock_guard lock(mutex_);
      all = connections_;
    }
    for (const auto& weak : all) {
      if (const auto connection = weak.lock()) action(*connection);
    }
  }

  std::shared_ptr<HttpShared> shared_;
  asio::io_context& io_ = shared_->io;
  std::optional<asio::ssl::context> tls_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  Strand strand_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  int port_ = 0;
  std::mutex mutex_;
  std::vector<std::weak_ptr<HttpConnectionBase>> connections_;
  size_t connections_kept_ = 64;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                      HttpHandler& handler) {
  auto server = std::make_unique<Server>(options, handler);
  DS_RETURN_IF_ERROR(server->Open());
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace deepshock
