// SPDX-License-Identifier: Apache-2.0
#include "serve/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "serve/http_test_client.h"

namespace deepshock {
namespace {

using std::chrono::milliseconds;

// "/echo" gives the body back, "/stream" writes as it is told, "/hold" keeps the reply for the test.
class TestHandler final : public HttpHandler {
 public:
  std::optional<HttpResponse> Refuse(const HttpRequest& head) override {
    if (head.path == "/forbidden") return HttpResponse{403, "no", "text/plain"};
    return std::nullopt;
  }
  void Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) override {
    if (request.path == "/echo") {
      reply->Send({200, request.method + " " + request.query + " " + request.body, "text/plain"});
    } else if (request.path == "/stream") {
      reply->Begin({200, "", "text/event-stream"});
      reply->Write("one");
      reply->Write("two");
      reply->End();
    } else if (request.path == "/drop") {
      return;
    } else {
      const std::lock_guard lock(mutex);
      held = std::move(reply);
      arrived.notify_all();
    }
  }
  HttpResponse Fault(int status, const std::string& message) override {
    return {status, message, "text/plain"};
  }

  std::shared_ptr<HttpReply> WaitForHeld() {
    std::unique_lock lock(mutex);
    arrived.wait_for(lock, std::chrono::seconds(10), [&] { return held != nullptr; });
    return std::move(held);
  }
  std::mutex mutex;
  std::condition_variable arrived;
  std::shared_ptr<HttpReply> held;
};

class HttpServerTest : public testing::Test {
 protected:
  void Start(HttpServerOptions options = {}) {
    options.port = 0;
    auto server = HttpServer::Start(options, handler_);
    ASSERT_TRUE(server.ok()) << server.message();
    server_ = std::move(server).value();
  }
  std::string Ask(const std::string& bytes) {
    RawClient client(server_->port());
    client.Send(bytes);
    return client.ReadAll();
  }
  TestHandler handler_;
  std::unique_ptr<HttpServer> server_;
};

std::string Get(const std::string& path, const std::string& headers = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n";
}
std::string Status(const std::string& answer) { return answer.substr(0, answer.find('\r')); }
std::string Body(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  Start();
  RawClient client(server_->port());
  for (int i = 0; i < 3; ++i) {
    client.Send("POST /echo?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    EXPECT_TRUE(client.ReadUntil("POST a=b hello").ends_with("POST a=b hello"));
  }
}

TEST_F(HttpServerTest, AnswersRequestsSentTogetherInOrder) {
  Start();
  const std::string answer = Ask(Get("/echo?1") + Get("/stream") + Get("/echo?2", "Connection: close\r\n"));
  const size_t first = answer.find("GET 1 "), stream = answer.find("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
               second = answer.find("GET 2 ");
  EXPECT_LT(first, stream);
  EXPECT_LT(stream, second);
  EXPECT_NE(second, std::string::npos);
}

TEST_F(HttpServerTest, ReadsBodiesInChunksAndByteByByte) {
  Start();
  RawClient client(server_->port());
  for (const char c : std::string("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")) {
    client.Send({&c, 1});
  }
  EXPECT_TRUE(client.ReadUntil("abcde").ends_with("POST  abcde"));
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  Start();
  const std::string answer = Ask("HEAD /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(Status(answer), "HTTP/1.1 200 OK");
  EXPECT_EQ(Body(answer), "");
}

TEST_F(HttpServerTest, OldClientsGetAStreamThatEndsWithTheConnection) {
  Start();
  const std::string answer = Ask("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_EQ(Body(answer), "onetwo");
  EXPECT_EQ(answer.find("chunked"), std::string::npos);
}

TEST_F(HttpServerTest, RefusesWhatIsMalformedOrTooLarge) {
  HttpServerOptions options;
  options.max_header_bytes = 1000;
  options.max_body_bytes = 100;
  Start(options);
  EXPECT_EQ(Status(Ask("NONSENSE\r\n\r\n")), "HTTP/1.1 400 Bad Request");
  EXPECT_EQ(Status(Ask(Get("/echo", "A: " + std::string(2000, 'x') + "\r\n"))),
            "HTTP/1.1 431 Request Header Fields Too Large");
  EXPECT_EQ(Status(Ask(std::string(5000, 'x'))).substr(0, 10), "HTTP/1.1 4");
  EXPECT_EQ(Status(Ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n")),
            "HTTP/1.1 413 Payload Too Large");
  EXPECT_EQ(Status(Ask("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" +
                       std::string(255, 'x') + "\r\n0\r\n\r\n")),
            "HTTP/1.1 413 Payload Too Large");
  EXPECT_EQ(
      Status(Ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")),
      "HTTP/1.1 400 Bad Request");
  EXPECT_EQ(Status(Ask(Get("/echo", "Connection: close\r\n"))), "HTTP/1.1 200 OK");
}

TEST_F(HttpServerTest, RefusesBeforeTheBodyIsRead) {
  Start();
  const std::string answer = Ask("POST /forbidden HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_EQ(Status(answer), "HTTP/1.1 403 Forbidden");
  EXPECT_EQ(Body(answer), "no");
}

TEST_F(HttpServerTest, AsksForABodyThatWaits) {
  Start();
  RawClient client(server_->port());
  client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("ok");
  EXPECT_TRUE(client.ReadUntil("POST  ok").ends_with("POST  ok"));
}

TEST_F(HttpServerTest, ClosesOnClientsThatSendTooSlowly) {
  HttpServerOptions options;
  options.head_timeout = options.body_timeout = milliseconds(100);
  Start(options);
  RawClient silent(server_->port()), head(server_->port()), body(server_->port());
  head.Send("GET / HT");
  body.Send("POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nab");
  for (RawClient* client : {&silent, &head, &body}) {
    client->ReadAll();
    EXPECT_TRUE(client->closed_by_server());
  }
}

TEST_F(HttpServerTest, TellsThatTheClientIsGone) {
  Start();
  RawClient client(server_->port());
  client.Send(Get("/hold"));
  const auto reply = handler_.WaitForHeld();
  ASSERT_NE(reply, nullptr);
  std::atomic<bool> gone{false};
  reply->OnClosed([&] { gone = true; });
  reply->Begin({200, "", "text/plain"});
  client.Close();
  for (int i = 0; i < 500 && !gone; ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_TRUE(gone);
}

TEST_F(HttpServerTest, SendsAwayAClientThatDoesNotRead) {
  HttpServerOptions options;
  options.max_unsent_bytes = 100'000;
  Start(options);
  RawClient client(server_->port());
  client.Send(Get("/hold"));
  const auto reply = handler_.WaitForHeld();
  ASSERT_NE(reply, nullptr);
  std::atomic<bool> gone{false};
  reply->OnClosed([&] { gone = true; });
  reply->Begin({200, "", "text/plain"});
  // More than the kernel's buffers on both sides take.
  for (int i = 0; i < 10'000 && !gone; ++i) reply->Write(std::string(10'000, 'x'));
  for (int i = 0; i < 500 && !gone; ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_TRUE(gone);
}

TEST_F(HttpServerTest, ADroppedReplyIsAnError) {
  Start();
  EXPECT_EQ(Status(Ask(Get("/drop"))), "HTTP/1.1 500 Internal Server Error");
}

TEST_F(HttpServerTest, RefusesMoreConnectionsThanAllowed) {
  HttpServerOptions options;
  options.max_connections = 2;
  Start(options);
  RawClient a(server_->port()), b(server_->port());
  a.Send(Get("/echo"));
  b.Send(Get("/echo"));
  a.ReadUntil("GET  ");
  b.ReadUntil("GET  ");
  RawClient c(server_->port());
  c.Send(Get("/echo"));
  EXPECT_EQ(Status(c.ReadAll()), "HTTP/1.1 503 Service Unavailable");
}

TEST_F(HttpServerTest, ManyIdleConnectionsCostNoThreads) {
  Start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(std::make_unique<RawClient>(server_->port()));
  for (auto& client : clients) {
    ASSERT_TRUE(client->Send(Get("/echo")));
    EXPECT_NE(client->ReadUntil("GET  ").find("200 OK"), std::string::npos);
  }
  EXPECT_EQ(server_->num_connections(), 200);
}

TEST_F(HttpServerTest, StopLetsAnswersEnd) {
  Start();
  RawClient idle(server_->port()), busy(server_->port());
  busy.Send(Get("/hold"));
  const auto reply = handler_.WaitForHeld();
  ASSERT_NE(reply, nullptr);
  reply->Begin({200, "", "text/plain"});
  std::thread finish([&] {
    std::this_thread::sleep_for(milliseconds(200));
    reply->Write("the end");
    reply->End();
  });
  EXPECT_TRUE(server_->Stop(milliseconds(10'000)));
  finish.join();
  EXPECT_NE(busy.ReadAll().find("the end"), std::string::npos);
  idle.ReadAll();
  EXPECT_TRUE(idle.closed_by_server());
  EXPECT_FALSE(RawClient(server_->port()).connected());
}

TEST_F(HttpServerTest, StopCutsOffWhatDoesNotEnd) {
  Start();
  RawClient client(server_->port());
  client.Send(Get("/hold"));
  const auto reply = handler_.WaitForHeld();
  ASSERT_NE(reply, nullptr);
  std::atomic<bool> gone{false};
  reply->OnClosed([&] { gone = true; });
  EXPECT_FALSE(server_->Stop(milliseconds(100)));
  EXPECT_TRUE(gone);
  server_.reset();
  reply->Send({200, "late", "text/plain"});  // into the void
}

TEST(HttpServerStart, SaysWhyItCannot) {
  TestHandler handler;
  HttpServerOptions options;
  options.host = "nowhere.example";
  EXPECT_EQ(HttpServer::Start(options, handler).message(),
            "host: expected an address such as 127.0.0.1 or ::, found \"nowhere.example\"");
  options.host = "127.0.0.1";
  options.port = 0;
  options.certificate = "/missing.pem";
  EXPECT_NE(HttpServer::Start(options, handler).message().find("expected both"), std::string::npos);
  options.key = "/missing.pem";
  EXPECT_NE(HttpServer::Start(options, handler).message().find("/missing.pem: cannot use it"),
            std::string::npos);
  options.certificate = options.key = "";
  const auto first = HttpServer::Start(options, handler);
  ASSERT_TRUE(first.ok());
  options.port = (*first)->port();
  EXPECT_NE(HttpServer::Start(options, handler).message().find("cannot listen on 127.0.0.1"),
            std::string::npos);
}

}  // namespace
}  // namespace deepshock
