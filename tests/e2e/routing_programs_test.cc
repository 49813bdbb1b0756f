// SPDX-License-Identifier: Apache-2.0
// Steering, explaining and tracing experts, as a user does.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/json.h"
#include "tests/support/programs.h"

namespace deepshock {
namespace {

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::stringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class RoutingPrograms : public Programs {
 protected:
  const std::string run_ =
      "run '" + kModel + "' -q --raw --prompt 'The kernel allocates' --temperature 0 " + "--max_tokens 16 ";
};

TEST_F(RoutingPrograms, ASteeredAnswerBringsItsAudit) {
  const Outcome plain = Deepshock(run_ + "--json");
  const Outcome steered = Deepshock(run_ +
                                    "--json --ban_experts '1-3:0-11,7:3' --boost_experts '*:20=4' "
                                    "--adaptive_experts 0.8 --min_experts 2");
  ASSERT_EQ(steered.exit_code, 0) << steered.err;
  const auto before = ParseJson(plain.out), after = ParseJson(steered.out);
  ASSERT_TRUE(before.ok() && after.ok()) << steered.out;
  EXPECT_FALSE(before->contains("routing"));
  EXPECT_NE((*before)["text"], (*after)["text"]);
  const Json& routing = (*after)["routing"];
  EXPECT_EQ(routing["asked"]["ban"].size(), 2u);
  EXPECT_EQ(routing["asked"]["boost"][0]["value"], 4);
  EXPECT_EQ(routing["asked"]["adaptive_experts"], 0.8);
  EXPECT_EQ(routing["layers"].size(), 7u);
  const int64_t tokens = routing["tokens"].get<int64_t>();
  EXPECT_EQ(tokens, (*after)["usage"]["total_tokens"].get<int64_t>() - 1);
  EXPECT_EQ(routing["selections"], tokens * 7 * 4);
  EXPECT_GT(routing["layers"][0]["banned"].get<int>(), 0);
  EXPECT_GT(routing["layers"][0]["dropped"].get<int>(), 0);
  const Outcome told = Deepshock(run_ + "--experts_per_token 2");
  EXPECT_NE(told.err.find("(50.0 %) were left out"), std::string::npos) << told.err;
}

TEST_F(RoutingPrograms, WhatCannotBeIsOneLine) {
  ExpectError(Deepshock(run_ + "--ban_experts no_such_expert"), {"no_such_expert", "known groups: ", "code_expert"});
  ExpectError(Deepshock(run_ + "--ban_experts '3:0-28'"), {"layer 3", "at least 4", "found 3"});
  ExpectError(Deepshock(run_ + "--bias_experts '3:40=1'"), {"3:40", "0 to 31"});
  ExpectError(Deepshock(run_ + "--experts_per_token 5"), {"experts_per_token: expected 1 to 4", "found 5"});
  const Outcome usage = Deepshock(run_ + "--boost_experts 3:4");
  EXPECT_EQ(usage.exit_code, 2);
  EXPECT_NE(usage.err.find("EXPERTS=NUMBER"), std::string::npos) << usage.err;
}

TEST_F(RoutingPrograms, RecordsSteerForThemselves) {
  const std::string input =
      R"({"id":1,"prompt":"The kernel"}
{"id":2,"prompt":"The kernel","ban_experts":["1:0-20"],"boost_experts":{"2:3":9},"explain_experts":true}
{"id":3,"prompt":"The kernel","ban_experts":"0:1"}
{"id":4,"prompt":"The kernel","bias_experts":[3]}
{"id":5,"prompt":"The kernel","experts_per_token":4}
)";
  const Outcome run = Call("deepseek-infer", "-q --model '" + kModel + "' --max_tokens 8", input);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  std::map<int, Json> records;
  for (const std::string& line : Lines(run.out)) {
    const auto json = ParseJson(line);
    ASSERT_TRUE(json.ok()) << line;
    records[(*json)["id"].get<int>()] = *json;
  }
  ASSERT_EQ(records.size(), 5u);
  EXPECT_FALSE(records[1].contains("routing") || records[1].contains("experts"));
  EXPECT_GT(records[2]["routing"]["layers"][0]["banned"].get<int>(), 0);
  EXPECT_EQ(records[2]["experts"]["tokens"].size(), 8u);
  double sum = 0;
  for (const Json& expert : records[2]["experts"]["experts"]) sum += expert["share"].get<double>();
  EXPECT_NEAR(sum, 1, 0.05);  // each rounded to 4 decimals
  EXPECT_NE(records[3]["error"].get<std::string>().find("layers with experts, 1 to 7"), std::string::npos);
  EXPECT_NE(records[4]["error"].get<std::string>().find("bias_experts: "), std::string::npos);
  EXPECT_EQ(records[5]["text"], records[1]["text"]);  // as many as the model has
}

TEST_F(RoutingPrograms, AnExplanationIsReadable) {
  const Outcome run = Deepshock(run_ + "--explain-experts");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.err.find("Experts of this answer, 16 tokens"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("strongest: "), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("code_expert"), std::string::npos) << run.err;
}

TEST_F(RoutingPrograms, GroupsAreThoseOfTheFileBesideTheModelOrOfTheOneNamed) {
  const Outcome plain = Deepshock(run_ + "--json");
  const Outcome banned = Deepshock(run_ + "--json --ban_experts code_expert --explain-experts");
  ASSERT_EQ(banned.exit_code, 0) << banned.err;
  const auto before = ParseJson(plain.out), after = ParseJson(banned.out);
  ASSERT_TRUE(before.ok() && after.ok()) << banned.out;
  EXPECT_NE((*before)["text"], (*after)["text"]);
  const Json& groups = (*after)["experts"]["groups"];
  ASSERT_TRUE(groups.contains("text_expert")) << banned.out;
  EXPECT_GT(groups["text_expert"].get<double>(), 0.0);
  EXPECT_EQ(groups["code_expert"].get<double>(), 0.0);
  // A file that the user names must be there; the one beside the model matters only when a group is named.
  ExpectError(Deepshock(run_ + "--groups '" + Path("none.json") + "'"), {"none.json"});
  fs::copy_file(kModel, Path("broken.gguf"));
  std::ofstream(Path("broken.experts.json")) << "{";
  const std::string run = "run '" + Path("broken.gguf") + "' -q --raw --prompt x --temperature 0 --max_tokens 2 ";
  EXPECT_EQ(Deepshock(run).exit_code, 0);
  ExpectError(Deepshock(run + "--ban_experts code_expert"), {"code_expert", "broken.experts.json"});
}

TEST_F(RoutingPrograms, TracesAreShownAndExported) {
  const std::string trace = Path("run.trace");
  const Outcome run = Deepshock(run_ + "--json --trace_experts '" + trace + "'");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto record = ParseJson(run.out);
  ASSERT_TRUE(record.ok());
  const int64_t num_tokens = (*record)["usage"]["total_tokens"].get<int64_t>() - 1;
  const Outcome shown = Deepshock("experts trace show --json '" + trace + "'");
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  const auto summary = ParseJson(shown.out);
  ASSERT_TRUE(summary.ok()) << shown.out;
  EXPECT_EQ((*summary)["complete"], true);
  EXPECT_EQ((*summary)["experts"], 32);
  EXPECT_EQ((*summary)["prefill_tokens"].get<int64_t>() + (*summary)["decode_tokens"].get<int64_t>(),
            num_tokens);
  EXPECT_EQ((*summary)["selections"], num_tokens * 28);
  EXPECT_NE(Deepshock("experts trace show '" + trace + "'").out.find("layer  balance"), std::string::npos);

  const Outcome jsonl = Deepshock("experts trace export '" + trace + "'");
  ASSERT_EQ(jsonl.exit_code, 0) << jsonl.err;
  const std::vector<std::string> lines = Lines(jsonl.out);
  EXPECT_EQ(static_cast<int64_t>(lines.size()), num_tokens);
  const auto first = ParseJson(lines.front());
  ASSERT_TRUE(first.ok()) << lines.front();
  EXPECT_EQ((*first)["position"], 0);
  EXPECT_EQ((*first)["phase"], "prefill");
  EXPECT_EQ((*first)["layers"].size(), 7u);
  EXPECT_EQ((*first)["layers"][6]["experts"].size(), 4u);
  const Outcome csv =
      Deepshock("experts trace export '" + trace + "' --format csv --output '" + Path("run.csv") + "'");
  ASSERT_EQ(csv.exit_code, 0) << csv.err;
  EXPECT_EQ(static_cast<int64_t>(Lines(ReadAll(Path("run.csv"))).size()), 1 + num_tokens * 28);
  ExpectError(Deepshock("experts trace show '" + kModel + "'"), {"tiny-moe.gguf", "begins with DSROUTE1"});
}

TEST_F(RoutingPrograms, AFullDiskEndsTheTraceAndNotTheAnswer) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const Outcome plain = Deepshock(run_), traced = Deepshock(run_ + "--trace_experts /dev/full");
  EXPECT_EQ(traced.exit_code, 0) << traced.err;
  EXPECT_EQ(traced.out, plain.out);
  EXPECT_NE(traced.err.find("warning: /dev/full: cannot write"), std::string::npos) << traced.err;
  EXPECT_EQ(std::count(traced.err.begin(), traced.err.end(), '\n'), 1) << traced.err;
}

TEST_F(RoutingPrograms, EvalTellsWhatFewerExpertsCost) {
  std::ofstream file(Path("t.i32"), std::ios::binary);
  for (int32_t i = 0; i < 64; ++i) {
    const int32_t token = 300 + i * 37 % 500;
    file.write(reinterpret_cast<const char*>(&token), sizeof(token));
  }
  file.close();
  const std::string eval =
      "eval nll '" + kModel + "' -q --length 64 --json --tokens '" + Path("t.i32") + "' ";
  const Outcome plain = Deepshock(eval), fewer = Deepshock(eval + "--experts_per_token 1");
  ASSERT_EQ(fewer.exit_code, 0) << fewer.err;
  const auto a = ParseJson(plain.out), b = ParseJson(fewer.out);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE((*a)["nll"], (*b)["nll"]);
  EXPECT_FALSE(a->contains("dropped"));
  EXPECT_EQ((*b)["selections"], 64 * 28);
  EXPECT_EQ((*b)["dropped"], 64 * 21);
}

}  // namespace
}  // namespace deepshock
