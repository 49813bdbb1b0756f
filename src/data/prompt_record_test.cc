// SPDX-License-Identifier: Apache-2.0
#include "data/prompt_record.h"

#include <gtest/gtest.h>

#include <string>

namespace deepshock {
namespace {

std::string ErrorOf(const std::string& line) {
  PromptRecord record;
  return ParsePromptRecord(line, &record).message();
}

TEST(PromptRecord, ReadsEveryField) {
  PromptRecord r;
  const Status status = ParsePromptRecord(
      R"({"id":"a-1","metadata":{"z":1,"a":[2]},"prompt":"Hi","max_tokens":7,"temperature":0,"top_k":5,"top_p":0.5,
          "min_p":0.1,"repetition_penalty":1.1,"presence_penalty":-1,"frequency_penalty":2,
          "logit_bias":{"5":-100,"7":1.5},
          "seed":18446744073709551615,"stop":["x","y"],"ignore_eos":true,"logprobs":3,"tools":null})",
      &r);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(r.id, "\"a-1\"");
  EXPECT_EQ(r.metadata, R"({"z":1,"a":[2]})");
  EXPECT_EQ(r.prompt, "Hi");
  EXPECT_EQ(r.max_tokens, 7);
  EXPECT_EQ(r.temperature, 0.0);
  EXPECT_EQ(r.top_k, 5);
  EXPECT_EQ(r.top_p, 0.5);
  EXPECT_EQ(r.min_p, 0.1);
  EXPECT_EQ(r.repetition_penalty, 1.1);
  EXPECT_EQ(r.presence_penalty, -1.0);
  EXPECT_EQ(r.frequency_penalty, 2.0);
  ASSERT_TRUE(r.logit_bias.has_value());
  EXPECT_EQ(*r.logit_bias, (std::vector<std::pair<int32_t, double>>{{5, -100.0}, {7, 1.5}}));
  EXPECT_EQ(r.seed, UINT64_MAX);
  EXPECT_EQ(*r.stop, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(r.ignore_eos, true);
  EXPECT_EQ(r.logprobs, 3);
}

TEST(PromptRecord, ReadsWhatIsAskedOfExperts) {
  PromptRecord r;
  const Status status = ParsePromptRecord(
      R"({"prompt":"x","ban_experts":["3:17","code_expert"],"bias_experts":{"*:1":-0.5},"boost_experts":{"zh":2},
          "experts_per_token":3,"adaptive_experts":0.9,"min_experts":2,"explain_experts":true,
          "expert_type":"zh"})",
      &r);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(*r.ban_experts, (std::vector<std::string>{"3:17", "code_expert"}));
  EXPECT_EQ(*r.bias_experts, (std::vector<std::pair<std::string, double>>{{"*:1", -0.5}}));
  EXPECT_EQ(*r.boost_experts, (std::vector<std::pair<std::string, double>>{{"zh", 2.0}}));
  EXPECT_EQ(r.experts_per_token, 3);
  EXPECT_EQ(r.adaptive_experts, 0.9);
  EXPECT_EQ(r.min_experts, 2);
  EXPECT_EQ(r.explain_experts, true);
  EXPECT_EQ(r.expert_type, "zh");
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","bias_experts":[1]})"),
            "bias_experts: expected an object of experts and numbers, found array");
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","boost_experts":{"a":"b"}})"),
            "boost_experts: expected numbers, found string");
}

TEST(PromptRecord, MessagesAndToolsKeepTheirKeyOrder) {
  PromptRecord r;
  ASSERT_TRUE(ParsePromptRecord(
                  R"({"messages":[{"role":"user","content":"x"}],"tools":[{"z":1,"a":2}],"stop":"s"})", &r)
                  .ok());
  EXPECT_EQ(r.messages, R"([{"role":"user","content":"x"}])");
  EXPECT_EQ(r.tools, R"([{"z":1,"a":2}])");
  EXPECT_EQ(*r.stop, std::vector<std::string>{"s"});
  EXPECT_FALSE(r.prompt.has_value());
}

TEST(PromptRecord, ErrorsNameTheField) {
  EXPECT_NE(ErrorOf("{").find("parse error"), std::string::npos);
  EXPECT_EQ(ErrorOf("[]"), "expected a JSON object, found array");
  EXPECT_EQ(ErrorOf("{}"), "expected either \"prompt\" or \"messages\", found neither");
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","messages":[{}]})"),
            "expected either \"prompt\" or \"messages\", found both");
  EXPECT_NE(ErrorOf(R"({"prompt":"x","max_token":1})").find("unknown field \"max_token\""),
            std::string::npos);
  EXPECT_EQ(ErrorOf(R"({"prompt":5})"), "prompt: expected a string, found number");
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","max_tokens":1.5})"), "max_tokens: expected an integer, found number");
  EXPECT_NE(ErrorOf(R"({"prompt":"x","max_tokens":9223372036854775808})").find("64 bits"), std::string::npos);
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","temperature":"hot"})"), "temperature: expected a number, found string");
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","seed":-1})"), "seed: expected 0 or more, found -1");
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","stop":[1]})"), "stop: expected a list of strings, found number");
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","logit_bias":{"five":1}})"),
            "logit_bias: expected token ids as keys, found \"five\"");
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","id":[1]})"), "id: expected a string or an integer, found array");
  EXPECT_EQ(ErrorOf(R"({"messages":"x"})"), "messages: expected a list, found string");
  EXPECT_EQ(ErrorOf(R"({"prompt":"x","tools":[]})"),
            "tools: expected \"messages\" with it, found \"prompt\"");
  EXPECT_NE(ErrorOf(R"({"prompt":"x","prompt":"y"})").find("occurs twice"), std::string::npos);
  EXPECT_NE(ErrorOf(std::string(1000, '[')).find("levels"), std::string::npos);
}

TEST(PromptRecord, AnErrorKeepsTheLinesOwnId) {
  PromptRecord r;
  EXPECT_FALSE(ParsePromptRecord(R"({"temperature":"hot","id":17,"metadata":"m"})", &r).ok());
  EXPECT_EQ(ErrorRecord(3, 4, r, "bad \xff byte"),
            "{\"index\":3,\"line\":4,\"id\":17,\"metadata\":\"m\",\"error\":\"bad \xEF\xBF\xBD byte\"}");
  EXPECT_EQ(ErrorRecord(0, 1, PromptRecord(), "x"), R"({"index":0,"line":1,"error":"x"})");
}

}  // namespace
}  // namespace deepshock
