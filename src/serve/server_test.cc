// SPDX-License-Identifier: Apache-2.0
// The routes over real sockets, with the embedded model behind them.
#include "serve/server.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "serve/http_server.h"
#include "serve/http_test_client.h"

namespace deepshock {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;

const std::string kModelPath = std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf";

struct HttpAnswer {
  int status = 0;
  std::string head, body;
  Json json() const { return Json::parse(body, nullptr, false); }
};

HttpAnswer ParseAnswer(const std::string& text) {
  HttpAnswer answer;
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos || text.size() < 12) return answer;
  answer.status = std::stoi(text.substr(9, 3));
  answer.head = text.substr(0, end);
  std::string rest = text.substr(end + 4);
  if (answer.head.find("chunked") == std::string::npos) {
    answer.body = rest;
    return answer;
  }
  for (size_t at = 0; at < rest.size();) {
    const size_t line = rest.find("\r\n", at);
    const size_t size = std::stoul(rest.substr(at, line - at), nullptr, 16);
    answer.body += rest.substr(line + 2, size);
    at = line + 2 + size + 2;
    if (size == 0) break;
  }
  return answer;
}

std::shared_ptr<ServedModel> LoadTiny(const std::string& name, EngineOptions options = {}) {
  options.num_threads = 2;
  if (options.batch_size == 1) options.batch_size = 4;
  auto engine = Engine::Load(kModelPath, options);
  EXPECT_TRUE(engine.ok()) << engine.message();
  return std::make_shared<ServedModel>(name, kModelPath, std::move(engine).value(), SamplingOptions());
}

class ServerTest : public testing::Test {
 protected:
  void Start(ServerOptions options = {}, EngineOptions engine = {}) {
    options.load_model = [](const std::string& name,
                            const std::string& path) -> Result<std::shared_ptr<ServedModel>> {
      if (path != kModelPath) return Fail("path: expected a model, found {}", path);
      return LoadTiny(name);
    };
    server_ = std::make_unique<Server>(std::move(options));
    server_->models().Put(LoadTiny("tiny", engine));
    HttpServerOptions http;
    http.port = 0;
    auto listener = HttpServer::Start(http, *server_);
    ASSERT_TRUE(listener.ok()) << listener.message();
    listener_ = std::move(listener).value();
  }
  void TearDown() override {
    if (listener_) listener_->Stop(milliseconds(0));
    if (server_) server_->models().Clear();
  }

  HttpAnswer Ask(const std::string& method, const std::string& path, const std::string& body = "",
                 const std::string& headers = "") {
    RawClient client(listener_->port());
    client.Send(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return ParseAnswer(client.ReadAll());
  }
  HttpAnswer Post(const std::string& path, const Json& body, const std::string& headers = "") {
    return Ask("POST", path, body.dump(), headers);
  }
  int64_t Metric(const std::string& name) {
    const std::string text = Ask("GET", "/metrics").body, line = "\ndeepshock_" + name;
    const size_t at = text.find(line);
    if (at == std::string::npos) return -1;
    const size_t value = text.find(' ', at + line.size());
    return std::stoll(text.substr(value + 1));
  }

  std::unique_ptr<Server> server_;
  std::unique_ptr<HttpServer> listener_;
};

Json Chat(const std::string& text, Json more = Json::object()) {
  Json body = {{"messages", {{{"role", "user"}, {"content", text}}}}, {"temperature", 0}, {"max_tokens", 16}};
  body.update(more);
  return body;
}

// The JSON of each event but the last, which is [DONE].
std::vector<Json> Events(const std::string& body) {
  std::vector<Json> events;
  bool done = false;
  for (size_t at = 0; (at = body.find("data: ", at)) != std::string::npos;) {
    const size_t end = body.find("\n\n", at);
    const std::string data = body.substr(at + 6, end - at - 6);
    EXPECT_FALSE(done) << "something follows [DONE]";
    if (data == "[DONE]") {
      done = true;
    } else {
      events.push_back(Json::parse(data));
    }
    at = end;
  }
  EXPECT_TRUE(done);
  return events;
}

TEST_F(ServerTest, AStreamSaysWhatTheWholeAnswerSays) {
  Start();
  const HttpAnswer whole =
      Post("/v1/chat/completions", Chat("Hello", {{"logprobs", true}, {"top_logprobs", 2}}));
  ASSERT_EQ(whole.status, 200) << whole.body;
  const Json choice = whole.json()["choices"][0];
  const std::string text = choice["message"]["content"];
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(whole.json()["usage"]["completion_tokens"], 16);
  EXPECT_EQ(choice["logprobs"]["content"].size(), 16U);
  EXPECT_EQ(choice["logprobs"]["content"][0]["top_logprobs"].size(), 2U);
  EXPECT_NE(whole.head.find("x-request-id: req-"), std::string::npos);

  const HttpAnswer stream = Post(
      "/v1/chat/completions",
      Chat("Hello", {{"stream", true}, {"logprobs", true}, {"stream_options", {{"include_usage", true}}}}));
  std::string streamed;
  size_t num_logprobs = 0;
  const std::vector<Json> events = Events(stream.body);
  ASSERT_GT(events.size(), 3U);
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  for (const Json& event : events) {
    if (event["choices"].empty()) continue;
    const Json& part = event["choices"][0];
    if (part["delta"].contains("content")) streamed += part["delta"]["content"].get<std::string>();
    if (part["logprobs"].is_object()) num_logprobs += part["logprobs"]["content"].size();
  }
  EXPECT_EQ(streamed, text);
  EXPECT_EQ(num_logprobs, 16U);
  EXPECT_EQ(events[events.size() - 2]["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(events.back()["usage"], whole.json()["usage"]);
}

TEST_F(ServerTest, ManyAtOnceAnswerAsEachAlone) {
  Start();
  const std::vector<std::string> prompts = {"Hello",    "The kernel", "Once upon a time",
                                            "int main", "def f(",     "1 2 3"};
  std::vector<std::string> alone, together(prompts.size());
  for (const auto& prompt : prompts)
    alone.push_back(Post("/v1/chat/completions", Chat(prompt)).json()["choices"].dump());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < prompts.size(); ++i) {
    threads.emplace_back(
        [&, i] { together[i] = Post("/v1/chat/completions", Chat(prompts[i])).json()["choices"].dump(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST_F(ServerTest, SeveralChoicesHaveSeedsOfTheirOwn) {
  Start();
  const Json body = Chat("Hello", {{"temperature", 1}, {"n", 3}, {"seed", 5}});
  const Json answer = Post("/v1/chat/completions", body).json();
  ASSERT_EQ(answer["choices"].size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(answer["deepshock"][i]["seed"], 5 + i);
    const Json alone =
        Post("/v1/chat/completions", Chat("Hello", {{"temperature", 1}, {"seed", 5 + i}})).json();
    EXPECT_EQ(alone["choices"][0]["message"], answer["choices"][i]["message"]);
  }
}

TEST_F(ServerTest, AnswersAreHeldToASchema) {
  Start();
  const Json schema = {
      {"type", "object"},
      {"properties",
       {{"count", {{"type", "integer"}, {"minimum", 0}, {"maximum", 99}}}, {"kind", {{"enum", {"a", "b"}}}}}},
      {"required", {"count", "kind"}},
      {"additionalProperties", false}};
  const Json format = {{"type", "json_schema"},
                       {"json_schema", {{"name", "x"}, {"strict", true}, {"schema", schema}}}};
  const Json answer =
      Post("/v1/chat/completions", Chat("Hello", {{"response_format", format}, {"max_tokens", 200}})).json();
  ASSERT_TRUE(answer.contains("choices")) << answer.dump();
  const Json said = Json::parse(answer["choices"][0]["message"]["content"].get<std::string>());
  EXPECT_TRUE(said["count"].is_number_integer());
  EXPECT_TRUE(said["kind"] == "a" || said["kind"] == "b");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");

  const Json grammar = {{"type", "grammar"}, {"grammar", "root ::= (\"yes\" | \"no\") \"!\""}};
  const Json spoken = Post("/v1/chat/completions", Chat("Hello", {{"response_format", grammar}})).json();
  ASSERT_TRUE(spoken.contains("choices")) << spoken.dump();
  const std::string word = spoken["choices"][0]["message"]["content"];
  EXPECT_TRUE(word == "yes!" || word == "no!") << word;

  const Json tool = {{"type", "function"}, {"function", {{"name", "count"}, {"parameters", schema}}}};
  const Json called =
      Post("/v1/chat/completions",
           Chat("Hello", {{"tools", {tool}}, {"tool_choice", "required"}, {"max_tokens", 300}}))
          .json();
  ASSERT_TRUE(called.contains("choices")) << called.dump();
  EXPECT_EQ(called["choices"][0]["finish_reason"], "tool_calls") << called.dump();
  const Json& call = called["choices"][0]["message"]["tool_calls"][0];
  EXPECT_EQ(call["function"]["name"], "count");
  EXPECT_TRUE(Json::parse(call["function"]["arguments"].get<std::string>())["count"].is_number_integer());

  const Json wrong = {{"type", "json_schema"},
                      {"json_schema", {{"name", "x"}, {"schema", {{"type", "nonsense"}}}}}};
  const HttpAnswer refused = Post("/v1/chat/completions", Chat("Hello", {{"response_format", wrong}}));
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.json()["error"]["param"], "response_format") << refused.body;
}

TEST_F(ServerTest, CompletionsOfSeveralPrompts) {
  Start();
  const Json answer = Post("/v1/completions", {{"prompt", {"The kernel", "Once upon"}},
                                               {"max_tokens", 4},
                                               {"temperature", 0},
                                               {"echo", true},
                                               {"logprobs", 1}})
                          .json();
  ASSERT_EQ(answer["choices"].size(), 2U);
  EXPECT_TRUE(answer["choices"][0]["text"].get<std::string>().starts_with("The kernel"));
  EXPECT_TRUE(answer["choices"][1]["text"].get<std::string>().starts_with("Once upon"));
  EXPECT_EQ(answer["choices"][1]["logprobs"]["tokens"].size(), 4U);
}

TEST_F(ServerTest, EmbeddingsAreUnitVectorsAndDoNotDependOnCompany) {
  Start();
  const Json one = Post("/v1/embeddings", {{"input", "The kernel"}}).json();
  const Json two = Post("/v1/embeddings", {{"input", {"Once upon", "The kernel"}}}).json();
  ASSERT_EQ(two["data"].size(), 2U) << two.dump();
  EXPECT_EQ(one["data"][0]["embedding"], two["data"][1]["embedding"]);
  double sum = 0;
  for (const double value : one["data"][0]["embedding"].get<std::vector<double>>()) sum += value * value;
  EXPECT_NEAR(sum, 1, 1e-5);
  EXPECT_EQ(Post("/v1/embeddings", {{"input", "x"}, {"dimensions", 8}}).json()["data"][0]["embedding"].size(),
            8U);
}

TEST_F(ServerTest, MoreInputsThanMayWaitTakeTurns) {
  EngineOptions engine;
  engine.max_waiting = 80;
  Start({}, engine);
  const Json inputs(std::vector<std::string>(200, "sea"));
  const HttpAnswer answer = Post("/v1/embeddings", {{"input", inputs}, {"dimensions", 4}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json data = answer.json()["data"];
  ASSERT_EQ(data.size(), 200U);
  for (const Json& entry : data) EXPECT_EQ(entry["embedding"], data[0]["embedding"]);
  EXPECT_EQ(answer.json()["usage"]["prompt_tokens"].get<int>() % 200, 0);
}

TEST_F(ServerTest, TokensThereAndBack) {
  Start();
  const Json tokens =
      Post("/tokenize", {{"prompt", "The kernel"}, {"add_special_tokens", false}}).json()["tokens"];
  EXPECT_EQ(Post("/detokenize", {{"tokens", tokens}}).json()["prompt"], "The kernel");
  EXPECT_GT(Post("/tokenize", Chat("Hi")).status, 399);  // temperature is no field of it
  EXPECT_EQ(Post("/tokenize", {{"messages", Chat("Hi")["messages"]}}).status, 200);
}

TEST_F(ServerTest, ErrorsNameTheField) {
  Start();
  const std::string long_prompt(20'000, 'x');
  struct Case {
    std::string path, body;
    int status;
    const char* param;
    const char* part;
  };
  const Case cases[] = {
      {"/v1/chat/completions", "{", 400, nullptr, "JSON"},
      {"/v1/chat/completions", "{}", 400, "messages", "expected a list"},
      {"/v1/chat/completions", Chat("x", {{"temperature", -1}}).dump(), 400, "temperature", "-1"},
      {"/v1/chat/completions", Chat("x", {{"nonsense", 1}}).dump(), 400, "nonsense", "nonsense"},
      {"/v1/chat/completions", Chat("x", {{"model", "other"}}).dump(), 404, "model", "known models: tiny"},
      {"/v1/chat/completions", Chat(long_prompt).dump(), 400, "messages", "context of 2048, found "},
      {"/v1/chat/completions", Chat("x", {{"experts", {{"ban", {"no_such"}}}}}).dump(), 400, nullptr,
       "text_expert"},
      {"/v1/completions", R"({"prompt": [999999]})", 400, "prompt", "999999"},
      {"/v1/completions", R"({"prompt": "x", "logit_bias": {"999999": 1}})", 400, "logit_bias", "999999"},
      {"/v1/embeddings", R"({"input": "x", "dimensions": 100000})", 400, "dimensions", "100000"},
      {"/detokenize", R"({"tokens": [-1]})", 400, "tokens[0]", "-1"},
  };
  for (const Case& c : cases) {
    const HttpAnswer answer = Ask("POST", c.path, c.body);
    EXPECT_EQ(answer.status, c.status) << c.body.substr(0, 100) << answer.body;
    const Json error = answer.json()["error"];
    if (c.param != nullptr) {
      EXPECT_EQ(error["param"], c.param) << answer.body;
    }
    EXPECT_NE(error["message"].get<std::string>().find(c.part), std::string::npos) << answer.body;
    EXPECT_EQ(error["type"], "invalid_request_error");
  }
  EXPECT_EQ(Ask("GET", "/nothing").status, 404);
  const HttpAnswer method = Ask("GET", "/v1/chat/completions");
  EXPECT_EQ(method.status, 405);
  EXPECT_NE(method.head.find("Allow: POST"), std::string::npos);
  EXPECT_EQ(Ask("GET", "/v1/models/none").status, 404);
  EXPECT_EQ(Ask("GET", "/v1/models/tiny").json()["id"], "tiny");
}

TEST_F(ServerTest, TheOtherApisSayTheSame) {
  Start();
  const Json chat = Post("/v1/chat/completions", Chat("Hello")).json();
  const std::string text = chat["choices"][0]["message"]["content"];

  const Json input = {{"input", "Hello"}, {"temperature", 0}, {"max_output_tokens", 16}};
  const Json response = Post("/v1/responses", input).json();
  EXPECT_EQ(response["output"][0]["content"][0]["text"], text) << response.dump();
  EXPECT_EQ(response["status"], "incomplete");
  EXPECT_EQ(response["usage"]["output_tokens"], 16);
  EXPECT_TRUE(response["deepshock"][0].contains("seed"));
  Json streamed = input;
  streamed["stream"] = true;
  const HttpAnswer events = Post("/v1/responses", streamed);
  EXPECT_NE(events.head.find("text/event-stream"), std::string::npos);
  EXPECT_EQ(events.body.rfind("event: response.created\n", 0), 0U);
  EXPECT_NE(events.body.find("event: response.incomplete\n"), std::string::npos);

  Json asked = Chat("Hello");
  const Json message = Post("/v1/messages", asked).json();
  EXPECT_EQ(message["content"][0]["text"], text) << message.dump();
  EXPECT_EQ(message["stop_reason"], "max_tokens");
  asked["stream"] = true;
  const HttpAnswer blocks = Post("/v1/messages", asked);
  EXPECT_EQ(blocks.body.rfind("event: message_start\n", 0), 0U);
  EXPECT_NE(blocks.body.find("event: message_stop\n"), std::string::npos);
  const Json counted = Post("/v1/messages/count_tokens", {{"messages", asked["messages"]}}).json();
  EXPECT_EQ(counted["input_tokens"], chat["usage"]["prompt_tokens"]);
  // Errors in each API's own form.
  EXPECT_EQ(Post("/v1/messages", Chat("Hello", {{"colour", 1}})).json()["error"]["type"],
            "invalid_request_error");
  EXPECT_EQ(Post("/v1/messages", Chat("Hello", {{"model", "x"}})).json()["error"]["type"], "not_found_error");
  EXPECT_EQ(Post("/v1/responses", {{"input", "x"}, {"background", true}}).json()["error"]["param"],
            "background");
}

TEST_F(ServerTest, AnswersAreHeldToARegex) {
  Start();
  const Json regex = {{"response_format", {{"type", "regex"}, {"regex", "(yes|no)!"}}}};
  const std::string word =
      Post("/v1/chat/completions", Chat("Hello", regex)).json()["choices"][0]["message"].value("content", "");
  EXPECT_TRUE(word == "yes!" || word == "no!") << word;
}

TEST_F(ServerTest, ThePageAndTheDocument) {
  Start();
  const HttpAnswer page = Ask("GET", "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.head.find("Content-Security-Policy: default-src 'none'; script-src 'self'"),
            std::string::npos);
  EXPECT_NE(page.body.find("<title>Deepshock</title>"), std::string::npos);
  EXPECT_NE(Ask("GET", "/page.js").head.find("text/javascript"), std::string::npos);
  EXPECT_NE(Ask("GET", "/page.css").head.find("text/css"), std::string::npos);
  EXPECT_EQ(Ask("GET", "/openapi.json").json()["openapi"], "3.1.0");
  EXPECT_EQ(Ask("GET", "/page.txt").status, 404);
}

TEST_F(ServerTest, LargeRequestsDoNotHoldUpOthers) {
  Start();
  std::vector<std::thread> threads;
  std::atomic<int> answered{0}, meanwhile{0};
  std::atomic<bool> done{false};
  // More of them than the transport has threads, each worth some hundredths of a second, and seconds under a
  // sanitizer.
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      if (Post("/tokenize", {{"prompt", std::string(300'000, 'a') + " b"}}).status == 200) ++answered;
    });
  }
  std::thread watch([&] {
    while (!done) {
      EXPECT_EQ(Ask("GET", "/health").status, 200);
      if (!done) ++meanwhile;
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  for (std::thread& thread : threads) thread.join();
  done = true;
  watch.join();
  EXPECT_EQ(answered, 6);
  EXPECT_GE(meanwhile, 5);  // held up, there would be one or two
}

TEST_F(ServerTest, AFullQueueIsToldApart) {
  EngineOptions engine;
  engine.batch_size = 2;
  engine.max_waiting = 1;
  Start({}, engine);
  std::vector<std::thread> threads;
  std::atomic<int> full{0}, fine{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const HttpAnswer answer =
          Post("/v1/chat/completions", Chat("Hello", {{"max_tokens", 200}, {"ignore_eos", true}}));
      if (answer.status == 200) ++fine;
      if (answer.status == 503 && answer.json()["error"]["code"] == "queue_full") ++full;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(full + fine, 8);
  EXPECT_GE(fine, 3);
  EXPECT_GE(full, 1);
}

TEST_F(ServerTest, AClientThatLeavesEndsItsGeneration) {
  Start();
  {
    RawClient client(listener_->port());
    const std::string body =
        Chat("Hello", {{"max_tokens", 1900}, {"ignore_eos", true}, {"stream", true}}).dump();
    client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    client.ReadUntil("content");
  }
  for (int i = 0; i < 200 && Metric("http_clients_left_total") < 1; ++i)
    std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(Metric("http_clients_left_total"), 1);
  EXPECT_EQ(Metric("running"), 0);
  EXPECT_LT(Metric("output_tokens_total"), 1900);
}

TEST_F(ServerTest, KeysAndTheirLimits) {
  ServerOptions options;
  ApiKey user = *MakeApiKey("user", "user-secret"), admin = *MakeApiKey("admin", "admin-secret");
  user.limits.requests_per_minute = 2;
  admin.admin = true;
  options.access.keys = {user, admin};
  Start(std::move(options));
  const std::string by_user = "Authorization: Bearer user-secret\r\n",
                    by_admin = "x-api-key: admin-secret\r\n";
  EXPECT_EQ(Ask("GET", "/health").status, 200);
  EXPECT_EQ(Post("/v1/chat/completions", Chat("x")).status, 401);
  EXPECT_EQ(Post("/v1/chat/completions", Chat("x"), by_user).status, 200);
  EXPECT_EQ(Post("/v1/chat/completions", Chat("x"), by_user).status, 200);
  const HttpAnswer limited = Post("/v1/chat/completions", Chat("x"), by_user);
  EXPECT_EQ(limited.status, 429);
  EXPECT_NE(limited.head.find("Retry-After: "), std::string::npos);
  EXPECT_EQ(Post("/v1/chat/completions", Chat("x"), by_admin).status, 200);
  EXPECT_EQ(Post("/v1/admin/models", {{"path", kModelPath}}, by_user).status, 403);
  int guesses = 0;
  while (guesses < 100 &&
         Post("/v1/chat/completions", Chat("x"), "x-api-key: guess-" + std::to_string(guesses) + "\r\n")
                 .status == 401)
    ++guesses;
  EXPECT_LT(guesses, 30);
  EXPECT_EQ(Post("/v1/chat/completions", Chat("x"), by_admin).status,
            429);  // from this address, for a minute
}

TEST_F(ServerTest, PagesOfOtherOriginsMayNotUseIt) {
  ServerOptions options;
  options.cors_origins = {"https://good.example"};
  Start(std::move(options));
  const HttpAnswer good = Post("/v1/chat/completions", Chat("x"), "Origin: https://good.example\r\n");
  EXPECT_EQ(good.status, 200);
  EXPECT_NE(good.head.find("Access-Control-Allow-Origin: https://good.example"), std::string::npos);
  EXPECT_EQ(Post("/v1/chat/completions", Chat("x"), "Origin: https://evil.example\r\n").status, 403);
  EXPECT_EQ(Post("/v1/chat/completions", Chat("x"), "Origin: http://localhost\r\n").status, 200);
  RawClient rebound(listener_->port());
  rebound.Send("GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(ParseAnswer(rebound.ReadAll()).status, 403);
  const HttpAnswer preflight = Ask("OPTIONS", "/v1/chat/completions", "", "Origin: https://good.example\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_NE(preflight.head.find("Access-Control-Allow-Methods"), std::string::npos);
}

TEST_F(ServerTest, AModelTakesAnothersPlaceWhileItAnswers) {
  Start();
  HttpAnswer answer;
  std::thread running([&] {
    answer = Post("/v1/chat/completions", Chat("Hello", {{"max_tokens", 600}, {"ignore_eos", true}}));
  });
  for (int i = 0; i < 500 && Metric("running") < 1; ++i) std::this_thread::sleep_for(milliseconds(2));
  const HttpAnswer loaded = Post("/v1/admin/models", {{"id", "tiny"}, {"path", kModelPath}});
  EXPECT_EQ(loaded.status, 200) << loaded.body;
  EXPECT_EQ(Post("/v1/chat/completions", Chat("Hello")).status, 200);
  running.join();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.json()["usage"]["completion_tokens"], 600);
  EXPECT_EQ(Ask("GET", "/v1/models").json()["data"].size(), 1U);
  EXPECT_EQ(Post("/v1/admin/models", {{"id", "second"}, {"path", kModelPath}}).status, 200);
  EXPECT_EQ(Ask("GET", "/v1/models").json()["data"].size(), 2U);
  EXPECT_EQ(Post("/v1/admin/models", {{"path", "/nowhere"}}).status, 400);
}

TEST_F(ServerTest, StoppingLetsAnswersEnd) {
  Start();
  HttpAnswer answer;
  std::thread running([&] {
    answer = Post("/v1/chat/completions", Chat("Hello", {{"max_tokens", 100}, {"ignore_eos", true}}));
  });
  for (int i = 0; i < 500 && Metric("running") < 1; ++i) std::this_thread::sleep_for(milliseconds(2));
  server_->SetDraining();
  EXPECT_EQ(Ask("GET", "/ready").status, 503);
  EXPECT_TRUE(listener_->Stop(std::chrono::seconds(60)));
  running.join();
  EXPECT_EQ(answer.json()["usage"]["completion_tokens"], 100) << answer.body;
}

}  // namespace
}  // namespace deepshock
