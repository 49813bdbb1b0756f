// SPDX-License-Identifier: Apache-2.0
#include "serve/responses_api.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace deepshock {
namespace {

std::string ErrorOf(const std::string& body) {
  ResponsesRequest request;
  const ApiStatus error = ParseResponses(body, &request);
  return error ? error->param + "|" + error->code + "|" + error->message : "";
}
bool Starts(const std::string& error, const std::string& with) { return error.rfind(with, 0) == 0; }

TEST(ResponsesApi, ReadsItems) {
  ResponsesRequest r;
  const ApiStatus error = ParseResponses(
      R"({"model":"m","instructions":"Be brief.","input":[
          {"role":"user","content":[{"type":"input_text","text":"Weather?"}]},
          {"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},
          {"type":"message","role":"assistant","id":"msg_1","status":"completed",
           "content":[{"type":"output_text","text":"Let me see.","annotations":[]}]},
          {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"n\":1}"},
          {"type":"function_call","call_id":"c2","name":"f","arguments":"{}"},
          {"type":"function_call_output","call_id":"c1","output":"wet"},
          {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"dry"}]}],
          "tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object"},"strict":true}],
          "tool_choice":{"type":"function","name":"f"},"max_output_tokens":9,"temperature":0.5,"top_p":0.9,
          "text":{"format":{"type":"text"}},"reasoning":{"effort":"none","summary":"auto"},"store":true,"stream":true,
          "include":["reasoning.encrypted_content"],"metadata":{"a":"b"},"previous_response_id":null,
          "experts":{"explain":true},"top_k":5,"truncation":"disabled"})",
      &r);
  ASSERT_FALSE(error) << error->message;
  EXPECT_EQ(
      r.chat.messages->dump(),
      R"([{"role":"system","content":"Be brief."},{"role":"user","content":"Weather?"},)"
      R"({"role":"assistant","content":"Let me see.","reasoning_content":"hm","tool_calls":[)"
      R"({"id":"c1","type":"function","function":{"name":"f","arguments":"{\"n\":1}"}},)"
      R"({"id":"c2","type":"function","function":{"name":"f","arguments":"{}"}}]},)"
      R"({"role":"tool","tool_call_id":"c1","content":"wet"},{"role":"tool","tool_call_id":"c2","content":"dry"}])");
  EXPECT_EQ(
      r.chat.tools->dump(),
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}])");
  EXPECT_EQ(r.chat.tool_choice, ToolChoice::kRequired);
  EXPECT_EQ(r.chat.tool_name, "f");
  EXPECT_EQ(r.chat.max_tokens, 9);
  EXPECT_EQ(r.chat.top_k, 5);
  EXPECT_TRUE(r.chat.routing.explain && r.chat.stream);
  EXPECT_EQ(r.chat.template_variables->dump(), R"({"enable_thinking":false,"thinking":false})");
  EXPECT_EQ((*r.echo)["instructions"], "Be brief.");
  EXPECT_EQ((*r.echo)["metadata"].dump(), R"({"a":"b"})");
}

TEST(ResponsesApi, ErrorsNameTheField) {
  EXPECT_EQ(ErrorOf("{}"),
            "input|missing_required_parameter|input: expected a string or a list of items, found none");
  EXPECT_TRUE(Starts(
      ErrorOf(R"({"input":"x","previous_response_id":"resp_1"})"),
      "previous_response_id|unsupported_parameter|previous_response_id: not supported: nothing is stored"));
  EXPECT_TRUE(Starts(ErrorOf(R"({"input":"x","background":true})"), "background|unsupported_parameter"));
  EXPECT_EQ(ErrorOf(R"({"input":"x","background":false})"), "");
  EXPECT_TRUE(Starts(ErrorOf(R"({"input":"x","truncation":"auto"})"), "truncation|unsupported_parameter"));
  EXPECT_TRUE(Starts(ErrorOf(R"({"input":"x","colour":1})"), "colour|unknown_parameter"));
  EXPECT_TRUE(Starts(ErrorOf(R"({"input":[{"role":"user","content":[{"type":"input_image"}]}]})"),
                     "input[0].content[0].type|invalid_value"));
  EXPECT_TRUE(
      Starts(ErrorOf(R"({"input":[{"type":"item_reference","id":"x"}]})"), "input[0].type|invalid_value"));
  EXPECT_TRUE(Starts(ErrorOf(R"({"input":[]})"), "input|invalid_value"));
  EXPECT_TRUE(
      Starts(ErrorOf(R"({"input":"x","tools":[{"type":"web_search"}]})"), "tools[0].type|invalid_value"));
  EXPECT_TRUE(Starts(ErrorOf(R"({"input":"x","text":{"format":{"type":"json_schema","name":"n"}}})"),
                     "text.format.schema|invalid_value"));
  EXPECT_TRUE(Starts(ErrorOf(R"({"input":"x","temperature":-1})"), "temperature|invalid_value"));
}

// The types of the events, with their sequence numbers checked.
std::vector<std::string> Types(const std::string& stream, nlohmann::json* last) {
  std::vector<std::string> types;
  for (size_t at = 0; at < stream.size();) {
    const size_t data = stream.find("data: ", at), end = stream.find("\n\n", at);
    *last = nlohmann::json::parse(stream.substr(data + 6, end - data - 6));
    EXPECT_EQ((*last)["sequence_number"], types.size());
    types.push_back((*last)["type"]);
    EXPECT_EQ(stream.substr(at, data - at), "event: " + types.back() + "\n");
    at = end + 2;
  }
  return types;
}

TEST(ResponsesApi, EventsComeInOrder) {
  using Kind = OutputEvent::Kind;
  ResponsesRequest request;
  ASSERT_FALSE(ParseResponses(R"({"input":"x"})", &request));
  const auto writer = NewResponsesShape({"1", "m", 5, 7}, request.echo);
  std::string stream = writer->Begin();
  stream += writer->Write({{Kind::kReasoning, "h", 0, "", ""}});
  stream += writer->Write({{Kind::kReasoning, "m", 0, "", ""}, {Kind::kContent, "Yes", 0, "", ""}});
  stream += writer->Write({{Kind::kCallBegin, "", 0, "c1", "f"},
                           {Kind::kCallArguments, "{}", 0, "", ""},
                           {Kind::kCallEnd, "", 0, "", ""}});
  AnswerEnd end;
  end.prompt_tokens = 7;
  end.cached_prompt_tokens = 2;
  end.output_tokens = 4;
  stream += writer->End(end);
  nlohmann::json last;
  EXPECT_EQ(Types(stream, &last), (std::vector<std::string>{"response.created",
                                                            "response.in_progress",
                                                            "response.output_item.added",
                                                            "response.content_part.added",
                                                            "response.reasoning_text.delta",
                                                            "response.reasoning_text.delta",
                                                            "response.reasoning_text.done",
                                                            "response.content_part.done",
                                                            "response.output_item.done",
                                                            "response.output_item.added",
                                                            "response.content_part.added",
                                                            "response.output_text.delta",
                                                            "response.output_text.done",
                                                            "response.content_part.done",
                                                            "response.output_item.done",
                                                            "response.output_item.added",
                                                            "response.function_call_arguments.delta",
                                                            "response.function_call_arguments.done",
                                                            "response.output_item.done",
                                                            "response.completed"}));
  EXPECT_EQ(last["response"], nlohmann::json::parse(writer->Body()));
  const nlohmann::json& output = last["response"]["output"];
  EXPECT_EQ(output[0]["content"][0]["text"], "hm");
  EXPECT_EQ(output[1]["content"][0]["text"], "Yes");
  EXPECT_EQ(output[2]["call_id"], "c1");
  EXPECT_EQ(output[2]["status"], "completed");
  EXPECT_EQ(last["response"]["usage"]["total_tokens"], 11);
  EXPECT_EQ(last["response"]["usage"]["input_tokens_details"]["cached_tokens"], 2);
}

TEST(ResponsesApi, AnswersThatEndEarly) {
  const auto writer = NewResponsesShape({"1", "m", 5, 7}, nullptr);
  writer->Write({{OutputEvent::Kind::kContent, "Ye", 0, "", ""}});
  AnswerEnd end;
  end.finish_reason = FinishReason::kLength;
  nlohmann::json last;
  const std::string stream = writer->End(end);
  EXPECT_NE(stream.find("event: response.incomplete\n"), std::string::npos);
  const nlohmann::json body = nlohmann::json::parse(writer->Body());
  EXPECT_EQ(body["status"], "incomplete");
  EXPECT_EQ(body["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(body["output"][0]["status"], "incomplete");
  EXPECT_NE(
      NewResponsesShape({"2", "m", 5, 7}, nullptr)->Fail({500, "broken", "", ""}).find("response.failed"),
      std::string::npos);
}

}  // namespace
}  // namespace deepshock
