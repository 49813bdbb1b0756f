// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_locator.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace deepshock {
namespace {

namespace fs = std::filesystem;

class FindModelTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("deepshock_locator_" + std::to_string(::getpid()));
    fs::create_directories(root_ / "models");
    fs::create_directories(root_ / "hub");
    search_ = {(root_ / "models").string(), (root_ / "hub").string()};
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string Write(const fs::path& relative, const std::string& text = "x") {
    fs::create_directories((root_ / relative).parent_path());
    std::ofstream(root_ / relative) << text;
    return (root_ / relative).string();
  }
  std::string Found(const std::string& model) {
    const Result<std::string> path = FindModel(search_, model);
    return path.ok() ? *path : "error: " + path.message();
  }

  fs::path root_;
  ModelSearch search_;
};

TEST_F(FindModelTest, PathsComeFirst) {
  const std::string file = Write("a/m.gguf");
  EXPECT_EQ(Found(file), file);
  Write("hf/config.json");
  EXPECT_EQ(Found((root_ / "hf").string()), (root_ / "hf").string());
  EXPECT_EQ(Found("/nowhere/m.gguf"), "error: /nowhere/m.gguf: no such file or folder");
}

TEST_F(FindModelTest, AFolderWithOneGgufMeansThatFile) {
  const std::string file = Write("g/model.gguf");
  Write("g/README.md");
  Write("g/mmproj-model.gguf");
  EXPECT_EQ(Found((root_ / "g").string()), file);
  Write("g/other.gguf");
  EXPECT_NE(Found((root_ / "g").string()).find("expected one GGUF model in this folder, found 2"),
            std::string::npos);
  fs::create_directories(root_ / "empty");
  EXPECT_NE(Found((root_ / "empty").string()).find("expected config.json or a .gguf file"),
            std::string::npos);
}

TEST_F(FindModelTest, ASplitModelIsItsFirstPart) {
  const std::string first = Write("s/m-00001-of-00003.gguf");
  Write("s/m-00002-of-00003.gguf");
  Write("s/m-00003-of-00003.gguf");
  EXPECT_EQ(Found((root_ / "s").string()), first);
}

TEST_F(FindModelTest, NamesInTheModelsFolder) {
  const std::string file = Write("models/tiny.gguf");
  EXPECT_EQ(Found("tiny"), file);
  EXPECT_EQ(Found("tiny.gguf"), file);
  Write("models/org/big/config.json");
  EXPECT_EQ(Found("org/big"), (root_ / "models/org/big").string());
}

TEST_F(FindModelTest, TheHubCache) {
  Write("hub/models--org--name/refs/main", "abc123\n");
  Write("hub/models--org--name/snapshots/abc123/config.json");
  const std::string file = Write("hub/models--org--name/snapshots/abc123/q4/m.gguf");
  EXPECT_EQ(Found("org/name"), (root_ / "hub/models--org--name/snapshots/abc123").string());
  EXPECT_EQ(Found("org/name/q4/m.gguf"), file);
  EXPECT_NE(Found("org/name/q8.gguf").find("fetch it with: hf download org/name q8.gguf"), std::string::npos);
  Write("models/org/name/config.json");
  EXPECT_EQ(Found("org/name"), (root_ / "models/org/name").string());  // the user's own folder goes first
}

TEST_F(FindModelTest, AnIncompleteDownloadSaysSo) {
  fs::create_directories(root_ / "hub/models--org--name/blobs");
  EXPECT_NE(Found("org/name").find("incomplete (no refs/main); finish it with: hf download org/name"),
            std::string::npos);
  Write("hub/models--org--name/refs/main", "../../..");
  EXPECT_NE(Found("org/name").find("incomplete (no snapshot"), std::string::npos);
}

TEST_F(FindModelTest, TheErrorTellsWhereItLookedAndHowToFetch) {
  EXPECT_EQ(Found("org/name"), "error: model \"org/name\": found neither as a path, nor in " +
                                   search_.models_folder + ", nor in the Hugging Face cache " +
                                   search_.hub_folder + "; fetch it with: hf download org/name");
  EXPECT_NE(Found("name").find("hf download ORGANISATION/name"), std::string::npos);
  EXPECT_NE(Found("").find("expected a path or a name"), std::string::npos);
}

}  // namespace
}  // namespace deepshock
