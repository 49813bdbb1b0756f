// SPDX-License-Identifier: Apache-2.0
// Sizing a machine from a route trace, as a user does.
#include <fstream>
#include <iterator>
#include <map>

#include "base/json.h"
#include "tests/support/programs.h"

namespace deepshock {
namespace {

class ExpertReplay : public Programs {
 protected:
  void SetUp() override {
    Programs::SetUp();
    ASSERT_EQ(Deepshock("repack '" + kModel + "' '" + model_ + "'").exit_code, 0);
    ASSERT_NO_FATAL_FAILURE(Run("--memory 20M", nullptr));
  }
  // Records trace_; what the run said on stderr. Fewer passes than it takes until reading ahead is tried,
  // which a replay does not know of.
  void Run(const std::string& options, std::string* said) {
    const Outcome run = Deepshock(
        "run '" + model_ + "' --raw --prompt 'The kernel allocates' --temperature 0 " +
        "--max_tokens 100 --ignore_eos --speculation off --trace_experts '" + trace_ + "' " + options);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    if (said != nullptr) *said = run.err;
  }
  std::string Replay(const std::string& options) const {
    return "experts replay '" + trace_ + "' " + options;
  }
  Json ReplayJson(const std::string& options) {
    const Outcome replay = Deepshock(Replay(options + " --json"));
    EXPECT_EQ(replay.exit_code, 0) << replay.err;
    auto json = ParseJson(replay.out);
    EXPECT_TRUE(json.ok()) << replay.out;
    return json.ok() ? *json : Json();
  }

  const std::string model_ =
      fs::path(testing::TempDir()) / ("deepshock-e2e-" + std::to_string(::getpid())) / "tiny.repacked.gguf";
  const std::string trace_ = model_ + ".trace";
  const std::string of_model_ = "--model '" + model_ + "' ";
};

// "hit rate 43.0 %" in what `run` says at the end.
double HitRateIn(const std::string& said) {
  const std::string before = "hit rate ";
  const size_t at = said.rfind(before);
  return at == std::string::npos ? -1 : std::stod(said.substr(at + before.size()));
}

// The same shape, other routers: some bytes of one are turned over.
TEST_F(ExpertReplay, RefusesTheTraceOfAnotherModel) {
  std::ifstream file(trace_, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::string key = "\"fingerprint\":\"";
  const size_t at = bytes.find(key);
  ASSERT_NE(at, std::string::npos);
  for (size_t i = at + key.size(); bytes[i] != '"'; ++i) {
    if (bytes[i] != '-') bytes[i] = bytes[i] == '5' ? 'a' : '5';
  }
  const std::string other = trace_ + ".other";
  std::ofstream(other, std::ios::binary) << bytes;
  EXPECT_EQ(Deepshock(Replay(of_model_ + "--memory 24M")).exit_code, 0);
  ExpectError(Deepshock("experts replay '" + other + "' " + of_model_ + "--memory 24M"),
              {"fingerprint of another model"});
}

TEST_F(ExpertReplay, PredictsARunOfTheProgram) {
  const std::string groups = "--groups '" + std::string(DEEPSHOCK_SOURCE_DIR) +
                             "/models/tiny-moe.experts.json' --warmup_experts code_expert ";
  for (const std::string memory : {"18M", "24M"}) {
    for (const std::string policy : {"lru", "frequency", "profile"}) {
      const std::string warm = policy == "profile" ? groups : "";
      std::string said;
      ASSERT_NO_FATAL_FAILURE(Run("--memory " + memory + " --expert_policy " + policy + " " + warm, &said));
      const Json json = ReplayJson(of_model_ + warm + "--memory " + memory + " --policy " + policy);
      ASSERT_EQ(json["results"].size(), 2u);
      EXPECT_EQ(json["results"][0]["policy"], policy);
      EXPECT_NEAR(100 * json["results"][0]["hit_rate"].get<double>(), HitRateIn(said), 1)
          << memory << " " << policy << ": " << said;
    }
  }
}

TEST_F(ExpertReplay, MoreMemoryReadsLessAndHindsightLeast) {
  const Json json = ReplayJson(of_model_ + "--policy lru,frequency --disk 2 --tokens_per_second 500");
  EXPECT_EQ(json["experts"], 7 * 32);
  EXPECT_EQ(json["results"].size(), 8u * 3);
  std::map<std::string, int64_t> last;
  int64_t memory = 0, hits = 0;
  for (const Json& row : json["results"]) {
    if (row["memory_bytes"] != memory) memory = row["memory_bytes"].get<int64_t>(), hits = 0;
    const std::string policy = row["policy"].get<std::string>();
    if (policy == "clairvoyant") {
      EXPECT_GE(row["hits"].get<int64_t>(), hits);
      if (last.contains(policy)) {
        EXPECT_LE(row["loaded_bytes"].get<int64_t>(), last[policy]);
      }
      last[policy] = row["loaded_bytes"].get<int64_t>();
    }
    hits = std::max(hits, row["hits"].get<int64_t>());
    EXPECT_LE(row["tokens_per_second"]["most"], 500.0);
    EXPECT_LT(row["tokens_per_second"]["least"], row["tokens_per_second"]["most"]);
  }
  // More than there is of anything: each expert is read once, whatever the policy.
  const Json roomy = ReplayJson(of_model_ + "--memory 100G");
  ASSERT_EQ(roomy["results"].size(), 3u);
  for (const Json& row : roomy["results"]) {
    EXPECT_EQ(row["loaded_bytes"], last["clairvoyant"]);
    EXPECT_LE(row["loaded_bytes"].get<int64_t>(), 7 * 32 * roomy["expert_bytes"].get<int64_t>());
  }
}

TEST_F(ExpertReplay, TellsInATableAndAPlot) {
  const std::string svg = Path("replay.svg");
  const Outcome table =
      Deepshock(Replay(of_model_ + "--memory 18M,24M --disk 2 --tokens_per_second 500 --plot '" + svg + "'"));
  ASSERT_EQ(table.exit_code, 0) << table.err;
  for (const char* part : {"4 of 32 a token in 7 layers", "18.0 MiB  lru", "18.0 MiB  frequency",
                           "24.0 MiB  clairvoyant", "tokens/s"}) {
    EXPECT_NE(table.out.find(part), std::string::npos) << part << " in " << table.out;
  }
  EXPECT_EQ(ReadAll(svg).rfind("<svg ", 0), 0u);
  // Without the model: experts alone.
  const Json json = ReplayJson("--expert_bytes 100KB --memory 11.2MB");
  EXPECT_EQ(json["expert_bytes"], 100000);
  EXPECT_EQ(json["always_bytes"], 0);
}

TEST_F(ExpertReplay, WhatCannotBeIsOneLine) {
  ExpectError(Deepshock(Replay("")), {"--model MODEL or --expert_bytes SIZE"});
  ExpectError(Deepshock(Replay(of_model_ + "--memory 2M")),
              {"--memory: expected at least ", "always in memory, 4 experts of ", "found 2.00 MiB"});
  ExpectError(Deepshock(Replay(of_model_ + "--memory lots")), {"--memory", "lots"});
  ExpectError(Deepshock(Replay(of_model_ + "--policy profile")), {"--policy profile", "--warmup_experts"});
  ExpectError(Deepshock(Replay(of_model_ + "--disk 2")), {"--disk and --tokens_per_second"});
  ExpectError(Deepshock(Replay("--expert_bytes 1M --warmup_experts code_expert")), {"--model MODEL"});
  ExpectError(Deepshock(Replay(of_model_ + "--warmup_experts no_such --groups '" +
                               std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.experts.json'")),
              {"no_such", "code_expert"});
  ExpectError(Deepshock("experts replay '" + model_ + "' " + of_model_), {"expected a route trace"});
  EXPECT_EQ(Deepshock(Replay(of_model_ + "--policy best")).exit_code, 2);
}

}  // namespace
}  // namespace deepshock
