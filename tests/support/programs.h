// SPDX-License-Identifier: Apache-2.0
// Runs the programs as a user calls them: through the shell, with files in a folder of the test's own.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace deepshock {

namespace fs = std::filesystem;

inline const std::string kModel = std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf";

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

inline std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class Programs : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("deepshock-e2e-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Runs "PROGRAM ARGUMENTS" through the shell with `input` on stdin.
  Outcome Call(const std::string& program, const std::string& arguments, const std::string& input = "") {
    std::ofstream(Path("stdin"), std::ios::binary) << input;
    const std::string command = std::string(DEEPSHOCK_BIN_DIR) + "/" + program + " " + arguments + " <'" +
                                Path("stdin") + "' >'" + Path("stdout") + "' 2>'" + Path("stderr") + "'";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadAll(Path("stdout")), ReadAll(Path("stderr"))};
  }
  Outcome Deepshock(const std::string& arguments, const std::string& input = "") {
    return Call("deepshock", arguments, input);
  }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  // Non-zero, nothing on stdout, and one line on stderr that holds every part.
  void ExpectError(const Outcome& run, const std::vector<std::string>& parts) {
    EXPECT_NE(run.exit_code, 0);
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
    EXPECT_NE(run.err.find(": error: "), std::string::npos) << run.err;
    for (const std::string& part : parts)
      EXPECT_NE(run.err.find(part), std::string::npos) << part << " in " << run.err;
  }

  fs::path folder_;
};

}  // namespace deepshock
