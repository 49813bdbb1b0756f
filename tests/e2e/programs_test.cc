// SPDX-License-Identifier: Apache-2.0
// The programs as a user calls them: output, exit codes, one clear line for every error, nothing left behind.
#include "tests/support/programs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "base/json.h"
#include "tests/support/reference_data.h"

namespace deepshock {
namespace {

TEST_F(Programs, HelpAndVersionOfEveryCommand) {
  for (const char* command : {"", "run", "inspect", "verify", "eval nll", "convert", "synth", "bench",
                              "experts trace show", "experts trace export"}) {
    const Outcome help = Deepshock(std::string(command) + " --help");
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_NE(help.out.find("Example"), std::string::npos) << command;
    EXPECT_EQ(help.err, "");
  }
  EXPECT_EQ(Call("deepseek-infer", "--help").exit_code, 0);
  for (const char* program : {"deepshock", "deepseek-infer"}) {
    EXPECT_NE(Call(program, "--version").out.find(DEEPSHOCK_VERSION), std::string::npos);
  }
}

TEST_F(Programs, RunStreamsTextAndTellsItsSpeed) {
  const Outcome run =
      Deepshock("run '" + kModel + "' --raw --prompt 'The kernel allocates' --temperature 0 --max_tokens 12");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_FALSE(run.out.empty());
  EXPECT_NE(run.err.find("tokens/s"), std::string::npos);
  EXPECT_NE(run.err.find("first token"), std::string::npos);
}

TEST_F(Programs, SameSeedSameText) {
  const std::string arguments =
      "run '" + kModel + "' -q --raw --prompt 'In this chapter' --temperature 1 --max_tokens 24 --seed ";
  const Outcome a = Deepshock(arguments + "7"), b = Deepshock(arguments + "7 --threads 1"),
                c = Deepshock(arguments + "8");
  EXPECT_EQ(a.exit_code, 0) << a.err;
  EXPECT_EQ(a.out, b.out);
  EXPECT_NE(a.out, c.out);
}

TEST_F(Programs, SpeculationChangesNoText) {
  const std::string prompt =
      "--raw --prompt 'int main(int argc, char **argv)' --max_tokens 60 --speculation ";
  for (const char* sampling : {"--temperature 0 ", "--temperature 0.8 --seed 3 "}) {
    const Outcome plain = Deepshock("run '" + kModel + "' " + sampling + prompt + "off");
    EXPECT_EQ(plain.exit_code, 0) << plain.err;
    EXPECT_EQ(plain.err.find("drafts"), std::string::npos) << plain.err;
    for (const char* kind : {"auto", "mtp --draft_tokens 2", "ngram"}) {
      const Outcome run = Deepshock("run '" + kModel + "' " + sampling + prompt + kind);
      EXPECT_EQ(run.exit_code, 0) << run.err;
      EXPECT_EQ(run.out, plain.out) << kind;
      if (kind[0] == 'm') {
        EXPECT_NE(run.err.find(" drafts right"), std::string::npos) << run.err;
      }
    }
  }
  const std::string run = "run '" + kModel + "' --prompt x ";
  EXPECT_NE(
      Deepshock(run + "--speculation magic").err.find("expected auto, off, mtp or ngram, found \"magic\""),
      std::string::npos);
  EXPECT_NE(Deepshock(run + "--draft_tokens 8").err.find("--draft_tokens: expected 1 to 7, found 8"),
            std::string::npos);
}

TEST_F(Programs, AMemoryLimitChangesNoText) {
  const std::string repacked = Path("tiny.repacked.gguf");
  ASSERT_EQ(Deepshock("repack '" + kModel + "' '" + repacked + "'").exit_code, 0);
  const std::string prompt = "' --raw --prompt 'int main(int argc' --max_tokens 40 --temperature 0 ";
  const Outcome plain = Deepshock("run '" + repacked + prompt);
  EXPECT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_EQ(plain.err.find("memory:"), std::string::npos) << plain.err;
  for (const char* limit : {"20M", "24MB", "1G"}) {
    const Outcome run = Deepshock("run '" + repacked + prompt + "--memory " + limit);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, plain.out) << limit;
    EXPECT_NE(run.err.find("of 256 experts"), std::string::npos) << run.err;
    EXPECT_NE(run.err.find("hit rate"), std::string::npos) << run.err;
    EXPECT_EQ(
        Call("deepseek-infer",
             "--model '" + repacked + "' --prompt 'int main(int argc' --max_tokens 40 " + "--memory " + limit)
            .out,
        plain.out)
        << limit;
  }
  ExpectError(Deepshock("run '" + repacked + prompt + "--memory 2M"),
              {"memory: expected at least", "experts of", "found 2.00 MiB"});
  ExpectError(Deepshock("run '" + repacked + prompt + "--memory lots"),
              {"--memory: expected a size such as 6G, 512M or 1.5GiB, found \"lots\""});
  ExpectError(Deepshock("run '" + kModel + prompt + "--memory 20M"),
              {"memory: expected at least", "deepshock repack " + kModel});
}

TEST_F(Programs, ExpertBatchingChangesNoAnswerAndKeepsTheOrder) {
  std::string input;
  for (int i = 0; i < 24; ++i) {
    input += i % 2 == 0 ? "{\"prompt\":\"int main(int argc, char **argv) " + std::to_string(i) + "\""
                        : "{\"prompt\":\"What is a compiler, number " + std::to_string(i) + "?\"";
    input += i % 4 == 0 ? ",\"expert_type\":\"code_expert\"}\n" : "}\n";
  }
  const std::string options = "--model '" + kModel + "' --batch_size 4 --max_tokens 6 -q --batching ";
  const Outcome fifo = Call("deepseek-infer", options + "fifo", input);
  EXPECT_EQ(fifo.exit_code, 0) << fifo.err;
  EXPECT_EQ(Call("deepseek-infer", options + "expert", input).out, fifo.out);
  ExpectError(Call("deepseek-infer", options + "magic", input), {"--batching", "magic"});
}

TEST_F(Programs, BatchKeepsOrderAndGoesOnAfterABadLine) {
  const std::string input =
      "{\"id\":\"a\",\"prompt\":\"The kernel allocates memory for\"}\n"
      "this is no JSON\n"
      "{\"id\":\"c\",\"messages\":[{\"role\":\"user\",\"content\":\"What is a "
      "compiler?\"}],\"max_tokens\":5}\n"
      "{\"id\":\"d\",\"prompt\":\"\xff\"}\n"
      "{\"id\":\"e\",\"prompt\":\"x\",\"no_such_field\":1}\n";
  const Outcome run =
      Call("deepseek-infer", "--model '" + kModel + "' --batch_size 4 --max_tokens 8 -q", input);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  std::istringstream lines(run.out);
  std::vector<Json> records;
  for (std::string line; std::getline(lines, line);) {
    const auto json = ParseJson(line);
    ASSERT_TRUE(json.ok()) << line;
    records.push_back(*json);
  }
  ASSERT_EQ(records.size(), 5u);
  for (size_t i = 0; i < records.size(); ++i) EXPECT_EQ(records[i]["index"], i);
  EXPECT_EQ(records[0]["id"], "a");
  EXPECT_FALSE(records[0]["text"].get<std::string>().empty());
  EXPECT_EQ(records[1]["line"], 2);
  EXPECT_TRUE(records[1].contains("error"));
  EXPECT_EQ(records[2]["id"], "c");
  EXPECT_TRUE(records[3].contains("error"));
  EXPECT_NE(records[4]["error"].get<std::string>().find("no_such_field"), std::string::npos);
}

TEST_F(Programs, BatchSizeDoesNotChangeGreedyText) {
  std::string input;
  for (const char* prompt : {"The kernel", "def main(", "A compiler is", "int x =", "Zhe"}) {
    input += Json{{"prompt", prompt}, {"max_tokens", 16}}.dump() + "\n";
  }
  const std::string common = "--model '" + kModel + "' -q --batch_size ";
  const Outcome one = Call("deepseek-infer", common + "1", input),
                many = Call("deepseek-infer", common + "8 --threads 3", input);
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_FALSE(one.out.empty());
  EXPECT_EQ(one.out, many.out);
}

TEST_F(Programs, OutputFileAppearsWhole) {
  const std::string input = "{\"prompt\":\"Hello\"}\n";
  const Outcome run =
      Call("deepseek-infer",
           "--model '" + kModel + "' -q --max_tokens 4 --output '" + Path("out.jsonl") + "'", input);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(ParseJson(ReadAll(Path("out.jsonl"))).ok());
  ExpectError(Call("deepseek-infer",
                   "--model '" + kModel + "' -q --output '" + Path("no/folder/out.jsonl") + "'", input),
              {"no/folder/out.jsonl"});
}

TEST_F(Programs, UnknownExpertGroupsAreRefusedByName) {
  ExpectError(
      Call("deepseek-infer", "--model '" + kModel + "' --warmup_experts 'text_expert,law_expert' --prompt x"),
      {"law_expert", "known groups: ", "code_expert"});
  const Outcome known =
      Call("deepseek-infer", "--model '" + kModel +
                                 "' --warmup_experts 'text_expert,code_expert' --batch_size 32 "
                                 "--prompt x --max_tokens 2");
  EXPECT_EQ(known.exit_code, 0) << known.err;
  EXPECT_NE(known.err.find("warm-up: all experts are in memory"), std::string::npos) << known.err;
}

TEST_F(Programs, InspectPrintsTheModelCardsNumbers) {
  const Outcome run = Deepshock("inspect '" + kModel + "' --json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = ParseJson(run.out);
  ASSERT_TRUE(json.ok()) << json.message();
  EXPECT_EQ((*json)["architecture"], "deepseek_v3");
  EXPECT_NEAR((*json)["parameters"].get<double>(), 51.6e6, 0.1e6);
  EXPECT_NEAR((*json)["active_parameters"].get<double>(), 13.8e6, 0.1e6);
  EXPECT_NEAR((*json)["mtp_parameters"].get<double>(), 5.7e6, 0.1e6);
  EXPECT_EQ((*json)["num_experts"], 32);
  EXPECT_EQ((*json)["kv_bytes_per_token"], 8 * ((128 + 32) * 2 + 2 * 4));  // two sections with a scale each
  EXPECT_TRUE((*json)["fits_in_memory"].get<bool>());
}

TEST_F(Programs, VerifyFailsOnWrongNumbersAndSaysWhere) {
  const std::string checkpoint = SharedData("conformance/mixtral");
  if (!fs::exists(checkpoint)) GTEST_SKIP() << checkpoint << " is absent";
  EXPECT_EQ(Deepshock("verify '" + checkpoint + "'").exit_code, 0);
  // Another family's reference with the same shapes.
  const Outcome wrong = Deepshock("verify '" + SharedData("conformance/llama") + "' --reference '" +
                                  SharedData("conformance/qwen3") + "/golden.safetensors'");
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_NE(wrong.out.find("FAIL  logits"), std::string::npos) << wrong.out;
}

TEST_F(Programs, ConvertWritesBesideAndRenames) {
  const std::string checkpoint = SharedData("conformance/deepseek_v3");
  if (!fs::exists(checkpoint)) GTEST_SKIP() << checkpoint << " is absent";
  const Outcome run =
      Deepshock("convert '" + checkpoint + "' '" + Path("v3.gguf") + "' --type experts=mxfp4,q8_0 --json -q");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = ParseJson(run.out);
  ASSERT_TRUE(json.ok());
  EXPECT_TRUE((*json)["bytes_by_type"].contains("mxfp4"));
  EXPECT_EQ(Deepshock("inspect '" + Path("v3.gguf") + "'").exit_code, 0);
  ExpectError(Deepshock("convert '" + checkpoint + "' '" + Path("v3.gguf") + "'"), {"v3.gguf", "--force"});
  ExpectError(Deepshock("convert '" + checkpoint + "' '" + Path("x.gguf") + "' --type q9_9"),
              {"q9_9", "q8_0"});
  ExpectError(Deepshock("convert '" + checkpoint + "' '" + Path("x.gguf") + "' --type heads=q8_0"),
              {"heads", "experts"});
  // A disk that is full: no file under the name, none beside it.
  const Outcome full = Deepshock("convert '" + checkpoint + "' /dev/full/x.gguf");
  EXPECT_NE(full.exit_code, 0);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    EXPECT_EQ(entry.path().string().find(".partial"), std::string::npos) << entry.path();
  }
}

TEST_F(Programs, SynthWritesAModelThatRuns) {
  const std::string arguments = "synth '" + Path("tiny.gguf") + "' --shape tiny --type q4_k_m";
  const Outcome run = Deepshock(arguments + " --json -q");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = ParseJson(run.out);
  ASSERT_TRUE(json.ok());
  EXPECT_TRUE((*json)["bytes_by_type"].contains("q4_k"));
  EXPECT_NEAR((*json)["parameters"].get<double>(), 16.7e6, 0.1e6);
  const std::string first = ReadAll(Path("tiny.gguf"));
  const Outcome chat = Deepshock("run '" + Path("tiny.gguf") + "' --prompt 'Hello there' --max_tokens 8");
  EXPECT_EQ(chat.exit_code, 0) << chat.err;
  EXPECT_FALSE(chat.out.empty());
  ExpectError(Deepshock(arguments), {"tiny.gguf", "--force"});
  EXPECT_EQ(Deepshock(arguments + " --force --threads 1 -q").exit_code, 0);
  EXPECT_TRUE(ReadAll(Path("tiny.gguf")) == first);  // the same seed, the same bytes
  ExpectError(Deepshock("synth '" + Path("x.gguf") + "' --shape gpt-9"), {"gpt-9", "deepseek-v2-lite"});
  ExpectError(Deepshock("synth '" + Path("x.gguf") + "' --shape tiny --type q9_9"), {"q9_9", "q4_k_m"});
  ExpectError(Deepshock("synth '" + Path("x.gguf") + "' --shape deepseek-v3 --layers 2"),
              {"4 to 61", "found 2"});
  for (const auto& entry : fs::directory_iterator(folder_)) {
    EXPECT_EQ(entry.path().string().find(".partial"), std::string::npos) << entry.path();
  }
}

TEST_F(Programs, BenchMeasuresAgainstItsCeilings) {
  const std::string arguments =
      "bench '" + kModel + "' --repetitions 2 --probe_mb 8 --tests pp:32,tg:4,tg:4:32,batch:3:2 -q";
  const Outcome run = Deepshock(arguments + " --json --threads 1");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = ParseJson(run.out);
  ASSERT_TRUE(json.ok()) << json.message();
  ASSERT_EQ((*json)["tests"].size(), 4u);
  EXPECT_EQ((*json)["tests"][2]["test"], "tg:4:32");
  EXPECT_EQ((*json)["threads"], 1);
  for (const Json& test : (*json)["tests"]) {
    EXPECT_EQ(test["tokens_per_second"]["values"].size(), 2u);
    EXPECT_GT(test["tokens_per_second"]["median"].get<double>(), 0);
    EXPECT_GT(test["bytes_per_second"].get<double>(), 0);
  }
  EXPECT_GT((*json)["ceilings"]["read_bytes_per_second"]["median"].get<double>(), 1e6);
  EXPECT_GT((*json)["ceilings"]["int8_ops_per_second"].get<double>(), 1e6);
  const Outcome table = Deepshock(arguments);
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_EQ(table.err, "");
  for (const char* part : {"prompt of 32", "decode, after 32", "decode, 3 together", "tokens/s", "GB/s"}) {
    EXPECT_NE(table.out.find(part), std::string::npos) << part << " in " << table.out;
  }
  const Outcome drafts = Deepshock("bench '" + kModel +
                                   "' --repetitions 2 --probe_mb 8 --tests tg:2 -q --json "
                                   "--prompt 'def main(' --generate 48 --speculation mtp --kv_type f32");
  ASSERT_EQ(drafts.exit_code, 0) << drafts.err;
  const auto with_drafts = ParseJson(drafts.out);
  ASSERT_TRUE(with_drafts.ok());
  EXPECT_EQ((*with_drafts)["drafts"]["same_output"], true);
  EXPECT_GT((*with_drafts)["drafts"]["accepted_tokens"].get<int>(),
            10);  // the model was trained with its MTP layer
  ExpectError(Deepshock("bench '" + kModel + "' -q --tests tg:2 --repetitions 1 --prompt x --generate 2048"),
              {"--prompt", "2048"});
  ExpectError(Deepshock("bench '" + kModel + "' -q --tests tg:8:2045"), {"tg:8:2045", "2048"});
  ExpectError(Deepshock("bench '" + kModel + "' -q --tests prefill"), {"prefill", "pp:TOKENS"});
  EXPECT_EQ(Deepshock("bench '" + kModel + "' --repetitions 0").exit_code, 2);
}

TEST_F(Programs, BrokenModelsGetOneLineEach) {
  const std::string whole = ReadAll(kModel);
  for (const size_t size : {size_t{0}, size_t{3}, size_t{24}, size_t{5000}, size_t{400000}, whole.size() / 2,
                            whole.size() - 4096}) {
    std::ofstream(Path("broken.gguf"), std::ios::binary) << whole.substr(0, size);
    ExpectError(Deepshock("run '" + Path("broken.gguf") + "' --prompt x"), {"broken.gguf"});
  }
  ExpectError(Deepshock("inspect '" + Path("absent.gguf") + "'"), {"absent.gguf"});
  ExpectError(Deepshock("inspect no-such/model-name"), {"no-such/model-name", "hf download"});
  fs::create_directories(Path("empty"));
  ExpectError(Deepshock("inspect '" + Path("empty") + "'"), {"config.json"});
}

TEST_F(Programs, WrongUsageIsExitCodeTwo) {
  for (const char* arguments : {"run --no_such_option", "run --threads 0", "run --temperature -1 --prompt x",
                                "eval nll", "no-such-command", "convert onlyone"}) {
    const Outcome run = Deepshock(arguments);
    EXPECT_EQ(run.exit_code, 2) << arguments << ": " << run.err;
    EXPECT_EQ(run.out, "");
  }
  ExpectError(Deepshock("run '" + kModel + "' --prompt x --kernels no_such_isa"),
              {"no_such_isa", "reference"});
}

TEST_F(Programs, EvalPrintsTheDocumentedJson) {
  std::string tokens;
  for (int32_t i = 0; i < 64; ++i) {
    const int32_t id = 20 + i * 37 % 8000;
    tokens.append(reinterpret_cast<const char*>(&id), sizeof(id));
  }
  std::ofstream(Path("ids.i32"), std::ios::binary) << tokens;
  const Outcome run =
      Deepshock("eval nll '" + kModel + "' --tokens '" + Path("ids.i32") + "' --length 32 --json -q");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = ParseJson(run.out);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->size(), 2u);
  EXPECT_EQ((*json)["tokens"], 62);
  EXPECT_GT((*json)["nll"].get<double>(), 0);
  ExpectError(Deepshock("eval nll '" + kModel + "' -q --tokens '" + Path("ids.i32") + "' --length 48"),
              {"ids.i32", "48"});
}

}  // namespace
}  // namespace deepshock
