// SPDX-License-Identifier: Apache-2.0
#include "serve/messages_api.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace deepshock {
namespace {

std::string ErrorOf(const std::string& body) {
  ChatRequest request;
  const ApiStatus error = ParseMessages(body, &request);
  return error ? error->param + "|" + error->message : "";
}
bool Starts(const std::string& error, const std::string& with) { return error.rfind(with, 0) == 0; }
std::string With(const std::string& field) {
  return R"({"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Hi"}],)" + field + "}";
}

TEST(MessagesApi, ReadsEveryField) {
  ChatRequest r;
  const ApiStatus error = ParseMessages(
      R"({"model":"m","max_tokens":9,"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}},
          {"type":"text","text":"And kind."}],
          "messages":[{"role":"user","content":"Weather?"},
           {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},
             {"type":"text","text":"Let me see."},{"type":"tool_use","id":"c1","name":"f","input":{"n":1}}]},
           {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"wet"}],
             "is_error":false},{"type":"text","text":"Thanks."}]}],
          "tools":[{"name":"f","description":"d","input_schema":{"type":"object"}}],
          "tool_choice":{"type":"any","disable_parallel_tool_use":true},"stop_sequences":["x"],"stream":true,
          "temperature":0.5,"top_k":3,"top_p":0.9,"thinking":{"type":"enabled","budget_tokens":1024},
          "metadata":{"user_id":"u"},"service_tier":"auto","experts":{"ban":"3:1"}})",
      &r);
  ASSERT_FALSE(error) << error->message;
  EXPECT_EQ(
      r.messages->dump(),
      R"([{"role":"system","content":"Be brief.\nAnd kind."},{"role":"user","content":"Weather?"},)"
      R"({"role":"assistant","content":"Let me see.","reasoning_content":"hm","tool_calls":[{"id":"c1",)"
      R"("type":"function","function":{"name":"f","arguments":"{\"n\":1}"}}]},)"
      R"({"role":"tool","tool_call_id":"c1","content":"wet"},{"role":"user","content":"Thanks."}])");
  EXPECT_EQ(
      r.tools->dump(),
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}])");
  EXPECT_EQ(r.tool_choice, ToolChoice::kRequired);
  EXPECT_FALSE(r.parallel_tool_calls);
  EXPECT_EQ(r.max_tokens, 9);
  EXPECT_EQ(r.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(r.top_k, 3);
  EXPECT_EQ(r.routing.rules.size(), 1u);
  EXPECT_TRUE(r.stream);
  EXPECT_EQ((*r.template_variables)["enable_thinking"], true);
}

TEST(MessagesApi, ErrorsNameTheField) {
  EXPECT_EQ(ErrorOf(R"({"messages":[{"role":"user","content":"Hi"}]})"),
            "max_tokens|max_tokens: expected 1 or more, found none");
  ChatRequest counted;
  EXPECT_FALSE(ParseCountTokens(R"({"messages":[{"role":"user","content":"Hi"}]})", &counted));
  EXPECT_TRUE(Starts(ErrorOf(R"({"max_tokens":1})"), "messages|"));
  EXPECT_TRUE(Starts(
      ErrorOf(
          R"({"max_tokens":1,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"I"}]})"),
      "messages|messages: expected the last message to be the user's"));
  EXPECT_TRUE(Starts(ErrorOf(R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image"}]}]})"),
                     "messages[0].content[0].type|"));
  EXPECT_TRUE(
      Starts(ErrorOf(R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"text"}, 1]}]})"),
             "messages[0].content[1]|"));
  EXPECT_TRUE(Starts(ErrorOf(R"({"max_tokens":1,"messages":[{"role":"user"}]})"), "messages[0].content|"));
  EXPECT_TRUE(Starts(ErrorOf(With(R"("colour":1)")), "colour|"));
  EXPECT_TRUE(Starts(ErrorOf(With(R"("mcp_servers":[{}])")), "mcp_servers|mcp_servers: not supported"));
  EXPECT_TRUE(Starts(ErrorOf(With(R"("tools":[{"type":"bash_20250124","name":"bash"}])")), "tools[0].type|"));
  EXPECT_TRUE(Starts(ErrorOf(With(R"("tool_choice":{"type":"tool","name":"g"})")), "tool_choice|"));
  EXPECT_TRUE(Starts(ErrorOf(With(R"("tool_choice":{"type":"auto","name":"g"})")), "tool_choice.name|"));
  EXPECT_TRUE(Starts(ErrorOf(With(R"("temperature":"hot")")), "temperature|temperature: expected a number"));
}

TEST(MessagesApi, EventsComeInOrder) {
  using Kind = OutputEvent::Kind;
  const auto writer = NewMessagesShape({"1", "m", 5, 7});
  std::string stream = writer->Begin();
  stream += writer->Write({{Kind::kReasoning, "hm", 0, "", ""}, {Kind::kContent, "Y", 0, "", ""}});
  stream += writer->Write({{Kind::kContent, "es", 0, "", ""}});
  stream += writer->Write({{Kind::kCallBegin, "", 0, "c1", "f"},
                           {Kind::kCallArguments, "{\"n\":1}", 0, "", ""},
                           {Kind::kCallEnd, "", 0, "", ""}});
  AnswerEnd end;
  end.prompt_tokens = 7;
  end.cached_prompt_tokens = 2;
  end.output_tokens = 4;
  stream += writer->End(end);
  std::vector<std::string> types;
  for (size_t at = 0; at < stream.size(); at = stream.find("\n\n", at) + 2) {
    const size_t data = stream.find("data: ", at);
    types.push_back(
        nlohmann::json::parse(stream.substr(data + 6, stream.find("\n\n", at) - data - 6))["type"]);
    EXPECT_EQ(stream.substr(at, data - at), "event: " + types.back() + "\n");
  }
  EXPECT_EQ(types, (std::vector<std::string>{
                       "message_start", "content_block_start", "content_block_delta", "content_block_delta",
                       "content_block_stop", "content_block_start", "content_block_delta",
                       "content_block_delta", "content_block_stop", "content_block_start",
                       "content_block_delta", "content_block_stop", "message_delta", "message_stop"}));
  const nlohmann::json body = nlohmann::json::parse(writer->Body());
  EXPECT_EQ(body["content"][0]["thinking"], "hm");
  EXPECT_EQ(body["content"][1]["text"], "Yes");
  EXPECT_EQ(body["content"][2]["input"]["n"], 1);
  EXPECT_EQ(body["stop_reason"], "tool_use");
  EXPECT_EQ(body["usage"]["input_tokens"], 5);
  EXPECT_EQ(body["usage"]["cache_read_input_tokens"], 2);

  const auto stopped = NewMessagesShape({"1", "m", 5, 7});
  end.stop = "x";
  stopped->End(end);
  EXPECT_EQ(nlohmann::json::parse(stopped->Body())["stop_sequence"], "x");
  EXPECT_NE(stopped->Fail({500, "broken", "", ""}).find("\"api_error\""), std::string::npos);
}

}  // namespace
}  // namespace deepshock
