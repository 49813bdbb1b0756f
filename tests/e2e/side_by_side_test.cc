// SPDX-License-Identifier: Apache-2.0
// bench/side_by_side on the embedded model: alone, and beside stand-ins that print what the other engines'
// programs print.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/file_test_dir.h"
#include "base/json.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

class SideBySide : public testing::Test {
 protected:
  // Exit code; what was printed is in the files "stdout" and "stderr".
  int Run(const std::string& arguments) {
    const std::string source(DEEPSHOCK_SOURCE_DIR);
    const std::string command = "'" + source + "/bench/side_by_side' '" + source + "/models/tiny-moe.gguf' " +
                                "--deepshock '" + DEEPSHOCK_BIN_DIR + "/deepshock' --probe_mb 4 -q " +
                                arguments + " >'" + folder_.File("stdout") + "' 2>'" +
                                folder_.File("stderr") + "'";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void PutProgram(const std::string& name, const std::string& script) {
    folder_.Put(name, "#!/bin/sh\n" + script);
    fs::permissions(folder_.File(name), fs::perms::owner_all);
  }
  void ExpectError(const std::string& arguments, const std::vector<std::string>& parts) {
    EXPECT_EQ(Run(arguments), 1) << arguments;
    const std::string error = folder_.Get("stderr");
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
    EXPECT_EQ(folder_.Get("stdout"), "");
    for (const std::string& part : parts)
      EXPECT_NE(error.find(part), std::string::npos) << part << " in " << error;
  }
  FileTestDir folder_;
};

TEST_F(SideBySide, DeepshockAlone) {
  ASSERT_EQ(
      Run("--rounds 2 --threads 1 --tests pp:16,tg:2,tg:2:16,batch:2:2 --out '" + folder_.File("out") + "'"),
      0)
      << folder_.Get("stderr");
  EXPECT_EQ(folder_.Get("stderr"), "");
  EXPECT_EQ(folder_.Get("stdout"), folder_.Get("out/table.md"));
  EXPECT_NE(folder_.Get("stdout").find("| decode, 2 together |"), std::string::npos) << folder_.Get("stdout");
  const auto json = ParseJson(folder_.Get("out/results.json"));
  ASSERT_TRUE(json.ok()) << json.message();
  EXPECT_EQ((*json)["runs"].size(), 2u);
  EXPECT_EQ((*json)["threads"], 1);
  for (const Json& run : (*json)["runs"]) {
    EXPECT_EQ(run["tokens_per_second"].size(), 4u);
    EXPECT_EQ(run["read_bytes_per_second"].size(), 2u);
    EXPECT_GT(run["peak_memory_bytes"].get<double>(), 1e6);
  }
  EXPECT_EQ(folder_.Get("out/plot.svg").substr(0, 5), "<svg ");
}

TEST_F(SideBySide, BesideOthersInTurns) {
  PutProgram("driver",
             "[ \"$1\" = libraries ] || exit 3\n"
             "echo '{\"test\": \"load\", \"tokens\": 0, \"seconds\": 1.5}'\n"
             "echo '{\"test\": \"pp:16\", \"tokens\": 16, \"seconds\": 0.5}'\n"
             "echo '{\"test\": \"tg:2:8\", \"tokens\": 2, \"seconds\": 0.25}'\n"
             "echo '{\"test\": \"batch:2:2:0\", \"tokens\": 4, \"seconds\": 0.25}'\n");
  folder_.Put("installed.json", "{\"driver\": \"" + folder_.File("driver") +
                                    "\", \"libraries\": \"libraries\", \"release\": \"v1\"}");
  PutProgram("llama-bench",
             "echo 'a line before'\n"
             "echo '[{\"n_prompt\": 16, \"n_gen\": 0, \"avg_ts\": 64.0}, {\"n_prompt\": 8, \"n_gen\": 2, "
             "\"avg_ts\": 4.0}]'\n");
  PutProgram("llama-batched-bench",
             "echo '|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s "
             "|    S t/s |' >&2\n"
             "echo "
             "'|-------|--------|------|--------|----------|----------|----------|----------|----------|-----"
             "-----|' >&2\n"
             "echo '|     1 |      2 |    2 |      6 |    0.168 |   190.54 |    0.656 |    12.50 |    0.824 "
             "|    48.54 |' >&2\n");
  const std::string arguments = "--rounds 3 --threads 1 --tests pp:16,tg:2:8,batch:2:2 --llama_cpp '" +
                                folder_.File("") + "' --ik '" + folder_.File("llama-bench") + "' --out '" +
                                folder_.File("out") + "'";
  ASSERT_EQ(Run(arguments), 0) << folder_.Get("stderr");
  const auto json = ParseJson(folder_.Get("out/results.json"));
  ASSERT_TRUE(json.ok()) << json.message();
  // The order rotates.
  std::vector<std::string> order;
  for (const Json& run : (*json)["runs"]) order.push_back(run["engine"]);
  const std::vector<std::string> expected = {"Deepshock",    "llama.cpp",    "ik_llama.cpp",
                                             "llama.cpp",    "ik_llama.cpp", "Deepshock",
                                             "ik_llama.cpp", "Deepshock",    "llama.cpp"};
  EXPECT_EQ(order, expected);
  const Json& tests = (*json)["summary"]["tests"];
  EXPECT_EQ(tests[0]["engines"]["llama.cpp"]["median"], 32.0);
  EXPECT_EQ(tests[1]["engines"]["llama.cpp"]["median"], 8.0);
  EXPECT_EQ(tests[2]["engines"]["llama.cpp"]["median"], 16.0);
  EXPECT_EQ(tests[0]["engines"]["ik_llama.cpp"]["median"], 64.0);
  EXPECT_EQ(tests[1]["engines"]["ik_llama.cpp"]["median"], 4.0);
  EXPECT_EQ(tests[2]["engines"]["ik_llama.cpp"]["median"], 12.5);
  const double own = tests[0]["engines"]["Deepshock"]["median"];
  EXPECT_NEAR(tests[0]["engines"]["ik_llama.cpp"]["deepshock_ratio"].get<double>(), own / 64, 1e-9 * own);
  EXPECT_NE(folder_.Get("stdout").find("against ik_llama.cpp"), std::string::npos);

  // An engine that fails, or leaves a test out, ends the comparison: no table of halves.
  PutProgram("llama-bench", "echo 'no such model type' >&2; exit 4\n");
  ExpectError(arguments, {"ik_llama.cpp", "exit code 4", "no such model type"});
  PutProgram("llama-bench", "echo '[]'\n");
  ExpectError(arguments, {"ik_llama.cpp", "pp:16"});
}

TEST_F(SideBySide, WrongArgumentsAreNamed) {
  ExpectError("--tests pp:0x", {"pp:0x"});
  ExpectError("--rounds 0", {"found 0"});
  ExpectError("--llama_cpp '" + folder_.File("nothing") + "'", {"nothing", "side_by_side install"});
  ExpectError("--ik '" + folder_.File("nothing") + "'", {"nothing", "llama-bench"});
  ExpectError("--rounds 1 --tests tg:1:4000", {"Deepshock", "2048"});
}

}  // namespace
}  // namespace deepshock
