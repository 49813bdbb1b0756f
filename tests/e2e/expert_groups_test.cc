// SPDX-License-Identifier: Apache-2.0
// `deepshock experts` as a user calls it.
#include "base/json.h"
#include "tests/support/programs.h"

namespace deepshock {
namespace {

class Experts : public Programs {
 protected:
  void SetUp() override {
    Programs::SetUp();
    std::string code, text;
    for (int i = 0; i < 6; ++i) {
      code += "{\"body\": \"static int add" + std::to_string(i) +
              "(int a, int b) {\\n  return a + b;\\n}\\n\"}\n";
      text += "{\"text\": \"Chapter " + std::to_string(i) +
              " tells how the system starts and what it needs.\"}\n";
    }
    std::ofstream(Path("code.jsonl")) << code;
    std::ofstream(Path("text.jsonl")) << text;
    groups_ = " --groups '" + Path("groups.json") + "'";
  }
  // A model and two groups in groups.json.
  void MakeGroups() {
    const std::string profile = "experts profile '" + kModel + "' -q" + groups_;
    const Outcome code = Deepshock(profile + " --data '" + Path("code.jsonl") + ":body' --name code_expert" +
                                   " --held-out '" + Path("code.jsonl") + ":body'");
    ASSERT_EQ(code.exit_code, 0) << code.err;
    const Outcome text = Deepshock(profile + " --data '" + Path("text.jsonl") + "' --name text_expert");
    ASSERT_EQ(text.exit_code, 0) << text.err;
  }

  std::string groups_;
};

TEST_F(Experts, HelpOfEveryCommand) {
  for (const char* command : {"", "profile", "list", "show", "compare", "select", "import-esft", "replay"}) {
    const Outcome help = Deepshock("experts " + std::string(command) + " --help");
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_NE(help.out.find("Example"), std::string::npos) << command;
  }
}

TEST_F(Experts, ProfilesAreKeptUnderTheirNames) {
  const std::string profile = "experts profile '" + kModel + "' --name code_expert --data '" +
                              Path("code.jsonl") + ":body' --held-out '" + Path("code.jsonl") + ":body'" +
                              groups_;
  const Outcome made = Deepshock(profile);
  ASSERT_EQ(made.exit_code, 0) << made.err;
  for (const char* part : {"code_expert: ", "tokens, 7 layers of 32 experts, 4 chosen", "split half",
                           "held out", "groups.json (1 group)"}) {
    EXPECT_NE(made.out.find(part), std::string::npos) << part << " in " << made.out;
  }
  EXPECT_NE(Deepshock(profile).out.find("(1 group, this one replaced)"), std::string::npos);

  const Outcome dry = Deepshock(profile + " --dry-run --json -q");
  const auto json = ParseJson(dry.out);
  ASSERT_TRUE(json.ok()) << dry.out;
  EXPECT_EQ((*json)["name"], "code_expert");
  EXPECT_EQ((*json)["profile"]["7"]["token"].size(), 32u);
  // The text that the group was made from, as held-out text: the set holds the same share.
  double sum = 0;
  for (const double share : (*json)["profile"]["1"]["token"]) sum += share;
  EXPECT_NEAR(sum, 1, 32 * 0.5e-6);
  EXPECT_GT((*json)["held_out"]["coverage"], (*json)["held_out"]["chance"]);
  EXPECT_EQ((*json)["held_out"]["num_tokens"], (*json)["num_tokens"]);
}

TEST_F(Experts, ListShowCompareAndSelect) {
  MakeGroups();
  const Outcome list = Deepshock("experts list '" + kModel + "'" + groups_);
  EXPECT_NE(list.out.find("code_expert"), std::string::npos) << list.err;
  EXPECT_NE(list.out.find("2 groups of 7 layers with 32 experts, 4 chosen"), std::string::npos) << list.out;
  const auto json = ParseJson(Deepshock("experts list '" + kModel + "' --json" + groups_).out);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ((*json)["groups"][1]["name"], "text_expert");

  const std::string svg = Path("map.svg"), png = Path("map.png");
  const Outcome show = Deepshock("experts show '" + kModel + "' code_expert --plot '" + svg + "'" + groups_);
  EXPECT_EQ(show.exit_code, 0) << show.err;
  EXPECT_NE(show.out.find("█"), std::string::npos) << show.out;
  EXPECT_EQ(ReadAll(svg).rfind("<svg ", 0), 0u);
  const Outcome compare = Deepshock("experts compare '" + kModel + "' --plot '" + png + "'" + groups_);
  EXPECT_EQ(compare.exit_code, 0) << compare.err;
  EXPECT_NE(compare.out.find("overlap of the sets"), std::string::npos);
  EXPECT_EQ(ReadAll(png).substr(0, 8), "\x89PNG\r\n\x1a\n");
  const auto matrix = ParseJson(Deepshock("experts compare '" + kModel + "' --json" + groups_).out);
  ASSERT_TRUE(matrix.ok());
  EXPECT_EQ((*matrix)["jaccard"][0][0], 1.0);
  EXPECT_EQ((*matrix)["jaccard"][0][1], (*matrix)["jaccard"][1][0]);
  // Code chooses the code group's experts more often than the text group's.
  EXPECT_GT((*matrix)["coverage"][0][0], (*matrix)["coverage"][0][1]);

  const std::string select = "experts select '" + kModel + "' code_expert" + groups_;
  const Outcome selected =
      Deepshock(select + " --rule esft-gate --p 0.3 --output '" + Path("config.json") + "'");
  EXPECT_EQ(selected.exit_code, 0) << selected.err;
  const auto config = ParseJson(ReadAll(Path("config.json")));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ((*config)["experts"].size(), 7u);
  EXPECT_EQ((*config)["shared_experts"], false);
  EXPECT_EQ(Deepshock(select + " --rule esft-gate --p 0.3 --json").out, ReadAll(Path("config.json")) + "\n");
}

TEST_F(Experts, TheEmbeddedModelHasFourGroups) {
  const Outcome list = Deepshock("experts list --json");
  const auto json = ParseJson(list.out);
  ASSERT_TRUE(json.ok()) << list.err;
  std::vector<std::string> names;
  for (const Json& group : (*json)["groups"]) names.push_back(group["name"]);
  EXPECT_EQ(names, (std::vector<std::string>{"text_expert", "code_expert", "zh_expert", "chat_expert"}));
  // The value that says most about a group: its set holds more of other text of its kind than chance would.
  for (const Json& group : (*json)["groups"]) {
    EXPECT_GT(group["held_out"]["coverage"].get<double>(), 1.5 * group["held_out"]["chance"].get<double>());
  }
}

TEST_F(Experts, MistakesAreNamed) {
  MakeGroups();
  ExpectError(Deepshock("experts show '" + kModel + "' zh_expert" + groups_),
              {"groups.json", "no expert group is named \"zh_expert\"; known groups: code_expert, text_expert"});
  ExpectError(Deepshock("experts list '" + kModel + "' --groups '" + Path("none.json") + "'"),
              {"none.json", "no groups yet", "experts profile"});
  ExpectError(Deepshock("experts show '" + kModel + "' code_expert --plot x.gif" + groups_),
              {"--plot", ".svg or .png"});
  const std::string profile =
      "experts profile '" + kModel + "' -q" + groups_ + " --data '" + Path("code.jsonl");
  ExpectError(Deepshock(profile + ":body' --name a,b"), {"--name", "letters, digits"});
  ExpectError(Deepshock(profile + "' --name x"),
              {"code.jsonl: line 1", "\"text\", \"prompt\" or \"messages\""});

  std::string other = ReadAll(Path("groups.json"));
  const size_t at = other.find("\"top_k\": 4");
  ASSERT_NE(at, std::string::npos);
  other.replace(at, 10, "\"top_k\": 5");
  std::ofstream(Path("groups.json")) << other;
  ExpectError(Deepshock("experts list '" + kModel + "'" + groups_),
              {"groups.json", "another model", "5 chosen"});
  // Nothing is measured for a file that the result could not be put into.
  ExpectError(Deepshock(profile + ":body' --name x"), {"groups.json", "another model"});
}

TEST_F(Experts, ScoreFilesBecomeASelection) {
  fs::create_directories(Path("scores"));
  std::ofstream(Path("scores/expert_weights_1.txt")) << "0\t1\t\t0.5\t0.25\n0\t2\t\t0.5\t0.25\n";
  const std::string import = "experts import-esft '" + Path("scores") + "' --num_experts 4 --top_k 2 ";
  const Outcome run = Deepshock(import + "--p 0.6 --output '" + Path("config.json") + "'");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(ReadAll(Path("config.json")),
            R"({"experts": {"1": [0, 1]}, "shared_experts": false, "non_expert_modules": false})");
  for (const char* part : {"1 layers, 2 tokens", "layer 1: 1 was taken, 2 scores the same", "split half",
                           "p above 0.5000, up to 0.7500"}) {
    EXPECT_NE(run.out.find(part), std::string::npos) << part << " in " << run.out;
  }
  ExpectError(Deepshock("experts import-esft '" + Path("scores") + "' --top_k 3"),
              {"expert_weights_1.txt: line 1", "expected 3 pairs a token"});
  ExpectError(Deepshock("experts import-esft '" + Path("none") + "'"), {"none", "cannot list"});
}

}  // namespace
}  // namespace deepshock
