// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "serve/json_fields.h"

namespace deepshock {
namespace {

TEST(ChatFormat, IsToldByTheTemplate) {
  const auto calls = [](const char* text) { return DetectChatFormat(text).calls; };
  EXPECT_EQ(calls("{{ messages }}"), CallSyntax::kNone);
  EXPECT_EQ(calls("<|start|>assistant<|channel|>final<|message|>"), CallSyntax::kHarmony);
  EXPECT_EQ(calls("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"), CallSyntax::kDeepSeek);
  EXPECT_EQ(calls("<｜DSML｜invoke name="), CallSyntax::kDsml);
  EXPECT_EQ(calls("<|tool_calls_section_begin|><|tool_call_begin|>"), CallSyntax::kKimi);
  EXPECT_EQ(calls("[TOOL_CALLS] "), CallSyntax::kMistral);
  EXPECT_EQ(calls("<tool_call>\n{\"name\": <function-name>"), CallSyntax::kHermes);
  EXPECT_EQ(calls("<tool_call>\n<function=example>"), CallSyntax::kQwenXml);
  EXPECT_EQ(calls("<tool_call>{{ name }}<arg_key>"), CallSyntax::kGlm);
  EXPECT_EQ(calls("<|start_header_id|> {\"name\": function name, \"parameters\": dictionary"),
            CallSyntax::kLlama);
  EXPECT_EQ(calls("<|start_header_id|>"), CallSyntax::kNone);
  EXPECT_EQ(DetectChatFormat("content.split('</think>')").reasoning, ReasoningSyntax::kThink);
  EXPECT_EQ(DetectChatFormat("[THINK]").reasoning, ReasoningSyntax::kMistralThink);
  EXPECT_FALSE(DetectChatFormat("{{ messages }}").keep_special_tokens);
}

TEST(ChatFormat, ReasoningThatThePromptOpens) {
  const ChatFormat format = DetectChatFormat("<think>");
  EXPECT_TRUE(StartsInReasoning(format, "<｜Assistant｜><think>\n"));
  EXPECT_FALSE(StartsInReasoning(format, "<think>\n\n</think>\n\n"));
  EXPECT_FALSE(StartsInReasoning(format, ""));
  EXPECT_FALSE(StartsInReasoning(ChatFormat(), "<think>"));
}

ChatRequest Request(const std::string& fields = "") {
  ChatRequest request;
  const ApiStatus error = ParseChatCompletion(
      R"({"messages":[{"role":"developer","content":"Be brief."},{"role":"user","content":"Hi"},
         {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function",
           "function":{"name":"f","arguments":"{\"b\":1,\"a\":2}"}}]},{"role":"tool","tool_call_id":"c","content":"3"}],
         "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":
           {"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"integer"}}}}},{"function":{"name":"g"}}])" +
          fields + "}",
      &request);
  EXPECT_FALSE(error) << error->message;
  return request;
}

TEST(ChatFormat, FitsWhatTheTemplateExpects) {
  // As DeepSeek-V3's: text arguments, null content, no tools of its own.
  const ChatFormat deepseek = DetectChatFormat(
      "message['content'] is none '<｜tool▁call▁begin｜>' + tool['function']['arguments'] + '\n'");
  const Conversation a = FitConversation(deepseek, Request());
  EXPECT_TRUE(a.tools == nullptr);
  const FieldJson& first = (*a.messages)[0];
  EXPECT_EQ(first["role"], "system");
  EXPECT_NE(first["content"].get<std::string>().find("Be brief.\n\nYou may call"), std::string::npos);
  EXPECT_NE(first["content"].get<std::string>().find("<｜tool▁sep｜>NAME"), std::string::npos);
  EXPECT_EQ((*a.messages)[2]["tool_calls"][0]["function"]["arguments"], "{\"b\":1,\"a\":2}");
  EXPECT_TRUE((*a.messages)[2]["content"].is_null());

  // As Qwen3's: objects, text content, tools.
  const ChatFormat qwen = DetectChatFormat("{% if tools %}<tool_call> {{ tool_call.arguments | tojson }}");
  const Conversation b = FitConversation(qwen, Request());
  EXPECT_EQ(b.tools->size(), 2u);
  EXPECT_EQ((*b.messages)[0]["content"], "Be brief.");
  EXPECT_EQ((*b.messages)[2]["tool_calls"][0]["function"]["arguments"].dump(), "{\"b\":1,\"a\":2}");
  EXPECT_EQ((*b.messages)[2]["content"], "");

  EXPECT_TRUE(FitConversation(qwen, Request(R"(,"tool_choice":"none")")).tools == nullptr);
}

TEST(ChatFormat, SchemaOfARequiredCall) {
  EXPECT_EQ(ForcedCallSchema(Request()), "");
  EXPECT_EQ(ForcedCallSchema(Request(R"(,"tool_choice":{"type":"function","function":{"name":"g"}})")),
            R"({"type":"object","properties":{"name":{"const":"g"},"arguments":{"type":"object"}},)"
            R"("required":["name","arguments"],"additionalProperties":false})");
  const FieldJson any = FieldJson::parse(ForcedCallSchema(Request(R"(,"tool_choice":"required")")));
  EXPECT_EQ(any["anyOf"].size(), 2u);
  EXPECT_EQ(any["$defs"].dump(), R"({"A":{"type":"integer"}})");
  EXPECT_FALSE(any["anyOf"][0]["properties"]["arguments"].contains("$defs"));
}

}  // namespace
}  // namespace deepshock
