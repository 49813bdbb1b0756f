// SPDX-License-Identifier: Apache-2.0
// Structured output of the embedded model, through the programs: whatever it is asked for, and however weak
// it is, every answer that it finishes parses and validates.
#include <nlohmann/json.hpp>

#include "tests/support/json_validator.h"
#include "tests/support/programs.h"
#include "tests/support/random_schema.h"

namespace deepshock {
namespace {

using Json = nlohmann::ordered_json;

class StructuredOutput : public Programs {};

TEST_F(StructuredOutput, EveryFinishedAnswerValidates) {
  constexpr uint32_t kNumSchemas = 500;
  std::vector<Json> schemas;
  std::string input;
  for (uint32_t seed = 0; seed < kNumSchemas; ++seed) {
    schemas.push_back(RandomSchema(seed + 77).Schema());
    Json record = {{"prompt", "Here is the value as JSON, short and valid:\n"},
                   {"max_tokens", 160},
                   {"temperature", seed % 3 * 0.5},
                   {"seed", seed},
                   {"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "x"}}}}}};
    record["response_format"]["json_schema"]["schema"] = schemas.back();
    input += record.dump() + "\n";
  }
  const Outcome run = Call("deepseek-infer", "--model '" + kModel + "' -q --batch_size 32", input);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  size_t num_lines = 0, num_finished = 0;
  std::istringstream lines(run.out);
  for (std::string line; std::getline(lines, line); ++num_lines) {
    const Json record = Json::parse(line);
    const Json& schema = schemas.at(num_lines);
    ASSERT_FALSE(record.contains("error")) << schema.dump() << "\n" << line;
    if (record["finish_reason"] != "stop") continue;
    ++num_finished;
    const auto text = record["text"].get<std::string>();
    const Json value = Json::parse(text, nullptr, false);
    EXPECT_FALSE(value.is_discarded()) << schema.dump() << "\n" << text;
    EXPECT_TRUE(value.is_discarded() || JsonValidator(schema).Valid(value)) << schema.dump() << "\n" << text;
  }
  EXPECT_EQ(num_lines, kNumSchemas);
  EXPECT_GT(num_finished, kNumSchemas / 2);
  std::printf("%zu of %u answers finished\n", num_finished, kNumSchemas);
}

TEST_F(StructuredOutput, RunTakesASchemaAndRefusesABadOne) {
  std::ofstream(Path("s.json"))
      << R"({"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]})";
  const std::string run =
      "run '" + kModel + "' -q --prompt 'Is it so?' --temperature 0 --max_tokens 64 --json-schema '";
  const Outcome plain = Deepshock(run + Path("s.json") + "' --speculation off");
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  const Json value = Json::parse(plain.out, nullptr, false);
  ASSERT_TRUE(value.is_object() && value.size() == 1) << plain.out;
  EXPECT_TRUE(value["ok"].is_boolean());
  for (const char* speculation : {"mtp", "ngram"}) {
    const Outcome drafted = Deepshock(run + Path("s.json") + "' --speculation " + speculation);
    EXPECT_EQ(drafted.out, plain.out) << drafted.err;
  }
  std::ofstream(Path("s.json")) << R"({"type":"object","not":{}})";
  ExpectError(Deepshock(run + Path("s.json") + "'"), {"s.json", "/not", "not supported"});
  std::ofstream(Path("s.json")) << "{";
  ExpectError(Deepshock(run + Path("s.json") + "'"), {"s.json"});
}

TEST_F(StructuredOutput, FormatsOfRecords) {
  const std::string input = R"({"prompt":"x","max_tokens":3,"response_format":{"type":"text"}})"
                            "\n"
                            R"({"prompt":"x","max_tokens":3,"response_format":{"type":"json_object"}})"
                            "\n"
                            R"({"prompt":"x","response_format":{"type":"xml"}})"
                            "\n"
                            R"({"prompt":"x","response_format":{"type":"json_schema"}})"
                            "\n"
                            R"({"prompt":"x","ignore_eos":true,"response_format":{"type":"json_object"}})"
                            "\n";
  const Outcome run = Call("deepseek-infer", "--model '" + kModel + "' -q", input);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  std::vector<Json> records;
  std::istringstream lines(run.out);
  for (std::string line; std::getline(lines, line);) records.push_back(Json::parse(line));
  ASSERT_EQ(records.size(), 5u);
  EXPECT_FALSE(records[0].contains("error"));
  EXPECT_EQ(records[1]["text"].get<std::string>().find_first_not_of(" \n\t"),
            records[1]["text"].get<std::string>().find('{'));
  EXPECT_NE(records[2]["error"].get<std::string>().find("json_object"), std::string::npos);
  EXPECT_NE(records[3]["error"].get<std::string>().find("schema"), std::string::npos);
  EXPECT_NE(records[4]["error"].get<std::string>().find("ignore_eos"), std::string::npos);
}

}  // namespace
}  // namespace deepshock
