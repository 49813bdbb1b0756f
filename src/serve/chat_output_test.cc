// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_output.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "serve/json_fields.h"

namespace deepshock {
namespace {

SharedJson Tools() {
  static const SharedJson tools = std::make_shared<const FieldJson>(FieldJson::parse(
      R"([{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{
            "n":{"type":"integer"},"s":{"type":"string"},"x":{"type":["string","number"]},"l":{"type":"array"}}}}},
          {"type":"function","function":{"name":"get_weather"}}])"));
  return tools;
}

std::string Describe(const std::vector<OutputEvent>& events) {
  std::string text;
  OutputEvent::Kind last = OutputEvent::Kind::kCallEnd;
  for (const OutputEvent& event : events) {
    const bool goes_on = event.kind == last;
    switch (last = event.kind) {
      case OutputEvent::Kind::kReasoning:
        text += (goes_on ? "" : "R|") + event.text;
        break;
      case OutputEvent::Kind::kContent:
        text += (goes_on ? "" : "C|") + event.text;
        break;
      case OutputEvent::Kind::kCallBegin:
        text += "[" + std::to_string(event.call) + " " + event.id + " " + event.name + " ";
        break;
      case OutputEvent::Kind::kCallArguments:
        text += event.text;
        break;
      case OutputEvent::Kind::kCallEnd:
        text += "]";
        break;
    }
  }
  return text;
}

std::string Parse(const ChatOutputOptions& options, const std::vector<std::string_view>& pieces) {
  std::vector<OutputEvent> events;
  const auto output = ChatOutput::Create(options);
  for (const std::string_view piece : pieces) output->Push(piece, &events);
  output->Finish(&events);
  return Describe(events);
}

// In one piece, in bytes, and split in two and in three at every point: always the same.
std::string Parse(const ChatOutputOptions& options, const std::string& text) {
  const std::string_view all = text;
  const std::string whole = Parse(options, std::vector<std::string_view>{all});
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < all.size(); ++i) bytes.push_back(all.substr(i, 1));
  EXPECT_EQ(Parse(options, bytes), whole) << "byte by byte";
  for (size_t i = 1; i < all.size(); ++i) {
    EXPECT_EQ(Parse(options, {all.substr(0, i), all.substr(i)}), whole) << "split at " << i;
    for (size_t j = i + 1; j < std::min(all.size(), i + 24); ++j) {
      EXPECT_EQ(Parse(options, {all.substr(0, i), all.substr(i, j - i), all.substr(j)}), whole)
          << "split at " << i << " and " << j;
    }
  }
  return whole;
}

ChatOutputOptions Options(CallSyntax calls, ReasoningSyntax reasoning = ReasoningSyntax::kNone) {
  ChatOutputOptions options;
  options.format.calls = calls;
  options.format.reasoning = reasoning;
  options.tools = Tools();
  options.call_id = "c";
  return options;
}

TEST(ChatOutput, PlainTextPasses) {
  ChatOutputOptions options = Options(CallSyntax::kHermes);
  options.tools = nullptr;
  EXPECT_EQ(Parse(options, "Hi\n<tool_call>\n{\"name\": \"f\"}</tool_call>\n"),
            "C|Hi\n<tool_call>\n{\"name\": \"f\"}</tool_call>\n");
  EXPECT_EQ(Parse(options, ""), "");
  // Without anything to look for, text is not held back.
  std::vector<OutputEvent> events;
  ChatOutput::Create(options)->Push("a \n", &events);
  EXPECT_EQ(Describe(events), "C|a \n");
}

TEST(ChatOutput, Reasoning) {
  ChatOutputOptions options = Options(CallSyntax::kNone, ReasoningSyntax::kThink);
  EXPECT_EQ(Parse(options, "<think>\nWell, 1 < 2.\n</think>\n\nYes.\n"), "R|Well, 1 < 2.C|Yes.\n");
  EXPECT_EQ(Parse(options, "\n<think></think>Yes"), "C|Yes");
  EXPECT_EQ(Parse(options, " No <think>marks</think>"), "C| No <think>marks</think>");
  EXPECT_EQ(Parse(options, "<think>cut off </thin"), "R|cut off </thin");
  EXPECT_EQ(Parse(options, "<thin"), "C|<thin");
  options.starts_in_reasoning = true;
  EXPECT_EQ(Parse(options, "Well.\n</think>\n\nYes"), "R|Well.C|Yes");
  EXPECT_EQ(Parse(options, "\n<think>Well.</think>Yes"), "R|Well.C|Yes");
  EXPECT_EQ(Parse(options, "never ends \n"), "R|never ends \n");
  EXPECT_EQ(Parse(Options(CallSyntax::kMistral, ReasoningSyntax::kMistralThink), "[THINK]a[/THINK]b"),
            "R|aC|b");
}

TEST(ChatOutput, Hermes) {
  const ChatOutputOptions options = Options(CallSyntax::kHermes, ReasoningSyntax::kThink);
  EXPECT_EQ(
      Parse(
          options,
          "<think>\nhm\n</think>\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 1}}\n</tool_call>"),
      "R|hm[0 c_0 f {\"n\":1}]");
  EXPECT_EQ(Parse(options,
                  "Sure.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
                  "{\"name\":\"get_weather\",\"arguments\":{\"q\":\"</tool_call>\"}}</tool_call>\n"),
            "C|Sure.[0 c_0 f {}][1 c_1 get_weather {\"q\":\"</tool_call>\"}]");
  // The answer ends before the last marker, but after the call.
  EXPECT_EQ(Parse(options, "<tool_call>{\"name\":\"f\"}"), "[0 c_0 f {}]");
  EXPECT_EQ(Parse(options, "<tool_call>{\"name\":\"f\"}</tool_call>\nand more"), "[0 c_0 f {}]C|\nand more");
  // An object as text is taken for what it says.
  EXPECT_EQ(Parse(options, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>"),
            "[0 c_0 f {\"a\":1}]");
}

TEST(ChatOutput, WhatIsNoCallIsContent) {
  const ChatOutputOptions options = Options(CallSyntax::kHermes);
  for (const std::string text :
       {"Write <tool_call> and </tool_call> around it.", "<tool_call>\n{\"name\": \"f\", \"argum",
        "<tool_call>", "<tool_cal", "<tool_call>{\"name\": 5}</tool_call> ",
        "<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>",
        "<tool_call>{\"name\":\"f\" \"arguments\":{}}</tool_call>", "a \n\n <tool_call> b",
        "<tool_call>[]</tool_call>"}) {
    EXPECT_EQ(Parse(options, text), "C|" + text);
  }
  EXPECT_EQ(Parse(options, "<tool_call>{x <tool_call>{\"name\":\"f\"}</tool_call>"),
            "C|<tool_call>{x[0 c_0 f {}]");
}

TEST(ChatOutput, ManyFalseCallsCostLittle) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "<tool_call>{\"";
  std::vector<OutputEvent> events;
  const auto output = ChatOutput::Create(Options(CallSyntax::kHermes));
  for (size_t i = 0; i < text.size(); i += 5) output->Push(std::string_view(text).substr(i, 5), &events);
  output->Finish(&events);
  EXPECT_EQ(Describe(events), "C|" + text);
}

TEST(ChatOutput, DeepSeek) {
  const ChatOutputOptions options = Options(CallSyntax::kDeepSeek, ReasoningSyntax::kThink);
  EXPECT_EQ(
      Parse(options,
            "Let me "
            "see.\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
            "{\"city\": "
            "\"Köln\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n"
            "```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
      "C|Let me see.[0 c_0 get_weather {\"city\": \"Köln\"}][1 c_1 f {}]");
  EXPECT_EQ(Parse(options,
                  "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": \"Köln\"}"
                  "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
            "[0 c_0 get_weather {\"city\": \"Köln\"}]");
  for (const std::string text : {"<｜tool▁calls▁begin｜> nothing<｜tool▁calls▁end｜>",
                                 "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\":<｜tool▁call▁end｜>",
                                 "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\":1}"}) {
    EXPECT_EQ(Parse(options, text), "C|" + text);
  }
}

TEST(ChatOutput, Dsml) {
  EXPECT_EQ(
      Parse(
          Options(CallSyntax::kDsml),
          "On it.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"s\" "
          "string=\"true\">1 < 2</｜DSML｜parameter>\n<｜DSML｜parameter name=\"n\" "
          "string=\"false\">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"get_weather\">\n"
          "</｜DSML｜invoke>\n</｜DSML｜function_calls>"),
      "C|On it.[0 c_0 f {\"s\":\"1 < 2\",\"n\":3}][1 c_1 get_weather {}]");
}

TEST(ChatOutput, Kimi) {
  EXPECT_EQ(
      Parse(
          Options(CallSyntax::kKimi),
          "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"n\": 1}"
          "<|tool_call_end|><|tool_calls_section_end|>"),
      "[0 functions.f:0 f {\"n\": 1}]");
}

TEST(ChatOutput, QwenXml) {
  const ChatOutputOptions options = Options(CallSyntax::kQwenXml);
  EXPECT_EQ(
      Parse(options,
            "<tool_call>\n<function=f>\n<parameter=n>\n5\n</parameter>\n<parameter=s>\n5\n</parameter>\n"
            "<parameter=x>\n1.5\n</parameter>\n<parameter=l>\n[1, \"a\"]\n</parameter>\n<parameter=new>\n"
            "a\n</parameter>\nb\n</parameter>\n</function>\n</tool_call>"),
      "[0 c_0 f {\"n\":5,\"s\":\"5\",\"x\":1.5,\"l\":[1,\"a\"],\"new\":\"a\\n</parameter>\\nb\"}]");
  EXPECT_EQ(Parse(options, "<tool_call><function=get_weather></function></tool_call>"),
            "[0 c_0 get_weather {}]");
  EXPECT_EQ(Parse(options, "<tool_call>{}</tool_call>"), "C|<tool_call>{}</tool_call>");
}

TEST(ChatOutput, Glm) {
  const ChatOutputOptions options = Options(CallSyntax::kGlm, ReasoningSyntax::kThink);
  EXPECT_EQ(Parse(options,
                  "\n<think>hm</think>\n<tool_call>f\n<arg_key>n</arg_key>\n<arg_value>7</"
                  "arg_value>\n<arg_key>s</arg_key>"
                  "\n<arg_value> a b</arg_value>\n</tool_call>\n<tool_call>get_weather\n</tool_call>"),
            "R|hm[0 c_0 f {\"n\":7,\"s\":\" a b\"}][1 c_1 get_weather {}]");
  EXPECT_EQ(Parse(options, "a <tool_call>, b</tool_call>"), "C|a <tool_call>, b</tool_call>");
}

TEST(ChatOutput, Harmony) {
  ChatOutputOptions options = Options(CallSyntax::kHarmony, ReasoningSyntax::kHarmony);
  EXPECT_EQ(
      Parse(
          options,
          "<|channel|>analysis<|message|>Hm <|x|>.<|end|><|start|>assistant<|channel|>final<|message|>Yes."),
      "R|Hm <|x|>.C|Yes.");
  EXPECT_EQ(Parse(options,
                  "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary "
                  "to=functions.get_weather "
                  "<|constrain|>json<|message|>{\"city\":\"Köln\"}"),
            "R|Hm[0 c_0 get_weather {\"city\":\"Köln\"}]");
  EXPECT_EQ(Parse(options, " to=functions.f<|channel|>commentary json<|message|>{\"n\":1}<|call|>"),
            "[0 c_0 f {\"n\":1}]");
  EXPECT_EQ(
      Parse(options,
            "<|channel|>commentary<|message|>I look it up.<|end|><|start|>assistant<|channel|>commentary "
            "to=functions.f<|message|>{\"n\":"),
      "C|I look it up.<|start|>assistant<|channel|>commentary to=functions.f<|message|>{\"n\":");
  EXPECT_EQ(Parse(options, "{\"constrained\": 1}"), "C|{\"constrained\": 1}");
  EXPECT_EQ(Parse(options, "<|channel|>ana"), "C|<|channel|>ana");
  EXPECT_EQ(Parse(options, "<|channel|>final<|message|>a<|end|><|staxt|>assistant<|message|>b"),
            "C|a<|staxt|>assistant<|message|>b");
  options.tools = nullptr;
  EXPECT_EQ(Parse(options, "<|channel|>commentary to=functions.f<|message|>{}<|call|>"), "C|{}");
}

TEST(ChatOutput, Llama) {
  const ChatOutputOptions options = Options(CallSyntax::kLlama);
  EXPECT_EQ(Parse(options, "{\"name\": \"f\", \"parameters\": {\"n\": \"}\"}}"), "[0 c_0 f {\"n\":\"}\"}]");
  EXPECT_EQ(Parse(options,
                  "<|python_tag|>{\"type\":\"function\",\"name\":\"f\",\"parameters\":{}}; "
                  "{\"name\":\"get_weather\",\"parameters\":{}}"),
            "[0 c_0 f {}][1 c_1 get_weather {}]");
  for (const std::string text :
       {"{\"answer\": 42}", "{\"name\": \"Ada\", \"parameters\": {}}", "{\"name\": \"f\"",
        "Say {\"name\": \"f\"}", "{", "  ", "<|python_tag|>print(1)"}) {
    EXPECT_EQ(Parse(options, text), "C|" + text);
  }
}

TEST(ChatOutput, Mistral) {
  ChatOutputOptions options = Options(CallSyntax::kMistral);
  EXPECT_EQ(Parse(options,
                  "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"n\": [1]}, \"id\": \"abcdefghi\"}, "
                  "{\"name\": \"get_weather\", \"arguments\": {}, \"id\": \"123456789\"}]"),
            "[0 abcdefghi f {\"n\":[1]}][1 123456789 get_weather {}]");
  EXPECT_EQ(
      Parse(options, "Well.[TOOL_CALLS]f[CALL_ID]a1b2c3d4e[ARGS]{\"n\": 1}[TOOL_CALLS]get_weather[ARGS]{}"),
      "C|Well.[0 a1b2c3d4e f {\"n\": 1}]"
      "[1 " +
          [] {
            std::vector<OutputEvent> events;
            const auto output = ChatOutput::Create(Options(CallSyntax::kMistral));
            output->Push("[TOOL_CALLS]f{}[TOOL_CALLS]get_weather{}", &events);
            return events.at(3).id;
          }() +
          " get_weather {}]");
  for (const std::string text : {"[TOOL_CALLS]", "[TOOL_CALLS]f[ARGS]", "[TOOL_CALLS][{\"name\":\"f\"",
                                 "[TOOL_CALLS]!", "[TOOL_CALLS]f{]", "[TOOL"}) {
    EXPECT_EQ(Parse(options, text), "C|" + text);
  }
  options.parallel_calls = false;
  EXPECT_EQ(Parse(options, "[TOOL_CALLS] [{\"name\":\"f\",\"id\":\"abcdefghi\"},{\"name\":\"f\"}] and more"),
            "[0 abcdefghi f {}]");
}

TEST(ChatOutput, Forced) {
  const ChatOutputOptions options = Options(CallSyntax::kForced);
  EXPECT_EQ(Parse(options, "{\"name\": \"f\", \"arguments\": {\"n\": 1}}"), "[0 c_0 f {\"n\":1}]");
  EXPECT_EQ(Parse(options, "{\"name\": \"f\", \"argum"), "C|{\"name\": \"f\", \"argum");
}

}  // namespace
}  // namespace deepshock
