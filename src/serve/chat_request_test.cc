// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_request.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "serve/json_fields.h"

namespace deepshock {
namespace {

// "PARAM|CODE|MESSAGE", empty for success.
std::string ErrorOf(ApiStatus (*parse)(std::string_view, ChatRequest*), const std::string& body) {
  ChatRequest request;
  const ApiStatus error = parse(body, &request);
  return error ? error->param + "|" + error->code + "|" + error->message : "";
}
bool Starts(const std::string& error, const std::string& with) { return error.rfind(with, 0) == 0; }
// The same for a chat with one more field.
std::string ChatError(const std::string& field) {
  return ErrorOf(ParseChatCompletion, R"({"messages":[{"role":"user","content":"Hi"}],)" + field + "}");
}
std::string MessageError(const std::string& message) {
  return ErrorOf(ParseChatCompletion, R"({"messages":[)" + message + "]}");
}

TEST(ChatRequest, ReadsEveryField) {
  ChatRequest r;
  const ApiStatus error = ParseChatCompletion(
      R"({"model":"m","messages":[{"role":"system","content":"Be brief."},
          {"role":"user","name":"u","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
          {"role":"assistant","content":null,"refusal":null,"annotations":[],"tool_calls":[{"id":"c1","type":"function",
            "function":{"name":"f","arguments":"{\"x\":1}"}}]},
          {"role":"tool","tool_call_id":"c1","content":"2"}],
          "tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}],
          "tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,
          "max_completion_tokens":7,"temperature":0,"top_p":0.5,"presence_penalty":-1,"frequency_penalty":2,
          "logit_bias":{"5":-100,"7":1.5},"seed":18446744073709551615,"stop":["x","y"],"n":3,"logprobs":true,
          "top_logprobs":4,"stream":true,"stream_options":{"include_usage":true},"reasoning_effort":"low",
          "user":"me","metadata":{"a":"b"},"store":true,"service_tier":"auto","modalities":["text"],
          "top_k":9,"min_p":0.1,"repetition_penalty":1.1,"ignore_eos":true,"stop_token_ids":[3],
          "chat_template_kwargs":{"thinking":true},"expert_type":"code_expert","priority":-2,"web_search_options":null,
          "experts":{"ban":["3:17"],"pin":"zh","bias":{"*:1":-0.5},"boost":{"chat":2},"experts_per_token":3,
                     "min_experts":2,"adaptive_experts":0.9,"explain":true}})",
      &r);
  ASSERT_FALSE(error) << error->message;
  EXPECT_EQ(r.model, "m");
  EXPECT_EQ(
      r.messages->dump(),
      R"([{"role":"system","content":"Be brief."},{"role":"user","name":"u","content":"ab"},)"
      R"({"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f",)"
      R"("arguments":"{\"x\":1}"}}],"content":null},{"role":"tool","tool_call_id":"c1","content":"2"}])");
  EXPECT_EQ(r.tools->size(), 1u);
  EXPECT_EQ(r.tool_choice, ToolChoice::kRequired);
  EXPECT_EQ(r.tool_name, "f");
  EXPECT_FALSE(r.parallel_tool_calls);
  EXPECT_EQ(r.max_tokens, 7);
  const SamplingOptions sampling = r.Sampling({});
  EXPECT_EQ(sampling.temperature, 0);
  EXPECT_EQ(sampling.top_k, 9);
  EXPECT_EQ(sampling.top_p, 0.5);
  EXPECT_EQ(sampling.min_p, 0.1);
  EXPECT_EQ(sampling.repetition_penalty, 1.1);
  EXPECT_EQ(sampling.presence_penalty, -1);
  EXPECT_EQ(sampling.frequency_penalty, 2);
  EXPECT_EQ(sampling.logit_bias, (std::vector<std::pair<int32_t, double>>{{5, -100.0}, {7, 1.5}}));
  EXPECT_EQ(sampling.seed, UINT64_MAX);
  EXPECT_EQ(r.stop, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(r.stop_tokens, std::vector<int32_t>{3});
  EXPECT_TRUE(r.ignore_eos);
  EXPECT_EQ(r.num_choices, 3);
  EXPECT_EQ(r.num_logprobs, 4);
  EXPECT_TRUE(r.stream && r.stream_usage);
  EXPECT_EQ(r.template_variables->dump(),
            R"({"reasoning_effort":"low","enable_thinking":true,"thinking":true})");
  EXPECT_EQ(r.expert_type, "code_expert");
  EXPECT_EQ(r.priority, -2);
  ASSERT_EQ(r.routing.rules.size(), 4u);
  EXPECT_EQ(r.routing.rules[1].experts, "zh");
  EXPECT_EQ(r.routing.rules[1].value, 1000);
  EXPECT_EQ(r.routing.rules[2].value, -0.5);
  EXPECT_EQ(r.routing.experts_per_token, 3);
  EXPECT_EQ(r.routing.min_experts, 2);
  EXPECT_EQ(r.routing.adaptive_experts, 0.9);
  EXPECT_TRUE(r.routing.explain);
}

TEST(ChatRequest, WhatIsNotGivenIsTheModels) {
  ChatRequest r;
  ASSERT_FALSE(ParseChatCompletion(R"({"messages":[{"role":"user","content":"Hi"}],"top_p":null})", &r));
  SamplingOptions model;
  model.temperature = 0.6;
  model.top_p = 0.95;
  EXPECT_EQ(r.Sampling(model).temperature, 0.6);
  EXPECT_EQ(r.Sampling(model).top_p, 0.95);
  EXPECT_EQ(r.num_logprobs, -1);
  EXPECT_EQ(r.max_tokens, 0);
  EXPECT_FALSE(r.tools || r.template_variables);
}

TEST(ChatRequest, ErrorsNameTheField) {
  EXPECT_EQ(ChatError(R"("temperature":"hot")"),
            "temperature|invalid_type|temperature: expected a number, found string");
  EXPECT_TRUE(Starts(ChatError(R"("temperature":-1)"), "temperature|invalid_value|temperature: "));
  EXPECT_EQ(ChatError(R"("top_p":0)"),
            "top_p|invalid_value|top_p: expected more than 0 and at most 1, found 0");
  EXPECT_EQ(ChatError(R"("max_tokens":0)"),
            "max_tokens|invalid_value|max_tokens: expected an integer of 1 or more, found 0");
  EXPECT_EQ(
      ChatError(R"("max_tokens":18446744073709551615)"),
      "max_tokens|invalid_value|max_tokens: expected an integer of 1 or more, found 18446744073709551615");
  EXPECT_EQ(ChatError(R"("n":129)"), "n|invalid_value|n: expected an integer from 1 to 128, found 129");
  EXPECT_EQ(ChatError(R"("colour":1)"), "colour|unknown_parameter|colour: unknown parameter");
  EXPECT_EQ(ChatError(R"("colour":null)"), "colour|unknown_parameter|colour: unknown parameter");
  EXPECT_EQ(ChatError(R"("experts":{"fire":1})"),
            "experts.fire|unknown_parameter|experts.fire: unknown parameter");
  EXPECT_EQ(ChatError(R"("experts":{"boost":{"a":"b"}})"),
            "experts.boost.a|invalid_type|experts.boost.a: expected a number, found string");
  EXPECT_EQ(ChatError(R"("logit_bias":{"x":1})"),
            "logit_bias|invalid_value|logit_bias: expected token ids as keys, found \"x\"");
  EXPECT_TRUE(Starts(ChatError(R"("stop":[""])"), "stop|invalid_value|stop:"));
  EXPECT_EQ(ChatError(R"("stop":[1])"), "stop[0]|invalid_type|stop[0]: expected a string, found number");
  EXPECT_EQ(ChatError(R"("top_logprobs":2)"),
            "top_logprobs|invalid_value|top_logprobs: expected with \"logprobs\": true only");
  EXPECT_EQ(ChatError(R"("stream_options":{"include_usage":true})"),
            "stream_options|invalid_value|stream_options: expected with \"stream\": true only");
  EXPECT_EQ(ChatError(R"("audio":{})"),
            "audio|unsupported_parameter|audio: not supported: this server writes text only");
  EXPECT_TRUE(Starts(ChatError(R"("functions":[{}])"), "functions|unsupported_parameter"));
  EXPECT_EQ(ChatError(R"("response_format":{"type":"json_schema"})"),
            "response_format.json_schema.schema|invalid_value|response_format.json_schema.schema: expected "
            "with this type, "
            "found none");
  EXPECT_TRUE(
      Starts(ChatError(R"("response_format":{"type":"xml"})"), "response_format.type|invalid_value|r"));
  EXPECT_TRUE(Starts(ChatError(R"("reasoning_effort":"enormous")"), "reasoning_effort|invalid_value"));
  EXPECT_EQ(ErrorOf(ParseChatCompletion, "{}"),
            "messages|missing_required_parameter|messages: expected a list of messages, found none");
  EXPECT_EQ(ErrorOf(ParseChatCompletion, "[]"),
            "|invalid_json|expected a JSON object as the body, found array");
  EXPECT_TRUE(Starts(ErrorOf(ParseChatCompletion, "{"), "|invalid_json|the body is not the JSON expected"));
  EXPECT_LT(ChatError("\"" + std::string(100000, 'x') + "\":1").size(), 1000u);
  EXPECT_LT(ChatError("\"reasoning_effort\":\"" + std::string(100000, 'x') + "\"").size(), 1000u);
}

TEST(ChatRequest, ErrorsOfMessages) {
  EXPECT_EQ(MessageError(""), "messages|invalid_value|messages: expected 1 to 65536 messages, found 0");
  EXPECT_EQ(MessageError("1"), "messages[0]|invalid_type|messages[0]: expected an object, found number");
  EXPECT_EQ(MessageError(R"({"content":"x"})"),
            "messages[0].role|invalid_value|messages[0].role: expected the message's role, found none");
  EXPECT_TRUE(Starts(MessageError(R"({"role":"king","content":"x"})"), "messages[0].role|invalid_value"));
  EXPECT_EQ(MessageError(R"({"role":"user"})"),
            "messages[0].content|invalid_value|messages[0].content: expected a string or a list of parts, "
            "found none");
  EXPECT_EQ(MessageError(R"({"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]})"),
            "messages[0].content[0].type|invalid_value|messages[0].content[0].type: expected \"text\", which "
            "is all that "
            "this server reads, found \"image_url\"");
  EXPECT_TRUE(
      Starts(MessageError(R"({"role":"tool","content":"x"})"), "messages[0].tool_call_id|invalid_value|"));
  EXPECT_EQ(
      MessageError(R"({"role":"user","content":"x","tool_calls":[{"function":{"name":"f"}}]})").substr(0, 22),
      "messages[0].tool_calls");
  EXPECT_EQ(MessageError(R"({"role":"user","content":"x","size":1})"),
            "messages[0].size|unknown_parameter|messages[0].size: unknown parameter");
}

TEST(ChatRequest, ToolsAndTheirChoice) {
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"f"}},{"function":{"name":"g"}}],)";
  EXPECT_EQ(ChatError(tools + R"("tool_choice":"required")"), "");
  EXPECT_EQ(ChatError(R"("tool_choice":"none")"), "");
  EXPECT_EQ(ChatError(R"("tool_choice":"required")"),
            "tool_choice|invalid_value|tool_choice: expected with \"tools\" only, found no tools");
  EXPECT_EQ(ChatError(tools + R"("tool_choice":{"type":"function","function":{"name":"h"}})"),
            "tool_choice|invalid_value|tool_choice: expected the name of one of \"tools\", found \"h\"");
  EXPECT_EQ(ChatError(R"("tools":[{"type":"function","function":{"name":"f"}},{"function":{"name":"f"}}])")
                .substr(0, 22),
            "tools[1].function.name");
  EXPECT_TRUE(Starts(ChatError(R"("tools":[{"type":"function","function":{"name":"a b"}}])"),
                     "tools[0].function.name"));
  EXPECT_TRUE(Starts(ChatError(R"("tools":[{"type":"web_search"}])"), "tools[0].type"));

  // The choice may come before the tools.
  ChatRequest r;
  ASSERT_FALSE(ParseChatCompletion(
      R"({"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required",
          "tools":[{"type":"function","function":{"name":"g"}}]}},
          "tools":[{"type":"function","function":{"name":"f"}},{"function":{"name":"g"},"type":"function"}],
          "messages":[{"role":"user","content":"Hi"}]})",
      &r));
  EXPECT_EQ(r.tool_choice, ToolChoice::kRequired);
  EXPECT_EQ(r.tools->dump(), R"([{"type":"function","function":{"name":"g"}}])");
}

TEST(ChatRequest, ReadsResponseFormats) {
  ChatRequest r;
  ASSERT_FALSE(ParseChatCompletion(R"({"messages":[{"role":"user","content":"Hi"}],"response_format":
      {"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","a":1,"A":2}}}})",
                                   &r));
  EXPECT_EQ(r.response_format.kind, ResponseFormat::Kind::kJsonSchema);
  EXPECT_EQ(r.response_format.text, R"({"type":"object","a":1,"A":2})");
  ChatRequest s;
  ASSERT_FALSE(ParseCompletion(R"({"prompt":"x","response_format":{"type":"regex","regex":"a+"}})", &s));
  EXPECT_EQ(s.response_format.kind, ResponseFormat::Kind::kRegex);
  EXPECT_EQ(s.response_format.text, "a+");
}

TEST(ChatRequest, ReadsCompletions) {
  ChatRequest r;
  ASSERT_FALSE(ParseCompletion(R"({"prompt":["a",[1,2]],"n":2,"best_of":2,"logprobs":0,"echo":true})", &r));
  ASSERT_EQ(r.prompts.size(), 2u);
  EXPECT_EQ(r.prompts[0].text, "a");
  EXPECT_EQ(r.prompts[1].tokens, (std::vector<int32_t>{1, 2}));
  EXPECT_FALSE(r.prompts[1].text);
  EXPECT_EQ(r.max_tokens, 16);
  EXPECT_EQ(r.num_logprobs, 0);
  EXPECT_TRUE(r.echo);
  ChatRequest ids;
  ASSERT_FALSE(ParseCompletion(R"({"prompt":[1,2,3]})", &ids));
  EXPECT_EQ(ids.prompts.at(0).tokens.size(), 3u);
  EXPECT_EQ(ErrorOf(ParseCompletion, R"({"prompt":[1,"a"]})"),
            "prompt[1]|invalid_type|prompt[1]: expected an integer, found string");
  EXPECT_TRUE(Starts(ErrorOf(ParseCompletion, R"({"prompt":[1,-1]})"), "prompt[1]|invalid_value"));
  EXPECT_TRUE(Starts(ErrorOf(ParseCompletion, R"({"prompt":""})"), "prompt|invalid_value"));
  EXPECT_TRUE(Starts(ErrorOf(ParseCompletion, R"({})"), "prompt|missing_required_parameter"));
  EXPECT_TRUE(Starts(ErrorOf(ParseCompletion, R"({"prompt":["a","b"],"n":65})"), "n|invalid_value"));
  EXPECT_TRUE(Starts(ErrorOf(ParseCompletion, R"({"prompt":"a","best_of":2})"), "best_of|invalid_value"));
  EXPECT_TRUE(
      Starts(ErrorOf(ParseCompletion, R"({"prompt":"a","suffix":"z"})"), "suffix|unsupported_parameter"));
  EXPECT_TRUE(
      Starts(ErrorOf(ParseCompletion, R"({"prompt":"a","messages":[]})"), "messages|unknown_parameter"));
}

TEST(ChatRequest, ErrorBodies) {
  EXPECT_EQ(
      OpenAiErrorBody({404, "no", "model", "model_not_found"}),
      R"({"error":{"message":"no","type":"invalid_request_error","param":"model","code":"model_not_found"}})");
  EXPECT_EQ(OpenAiErrorBody({503, "busy", "", ""}),
            R"({"error":{"message":"busy","type":"server_error","param":null,"code":null}})");
  EXPECT_EQ(AnthropicErrorBody({413, "big", "", ""}, "req_1"),
            R"({"type":"error","error":{"type":"request_too_large","message":"big"},"request_id":"req_1"})");
}

}  // namespace
}  // namespace deepshock
