// SPDX-License-Identifier: Apache-2.0
#include "runtime/prefix_files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file_test_dir.h"
#include "runtime/model_identity.h"
#include "runtime/scheduler.h"
#include "runtime/test_model.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

class PrefixFilesTest : public testing::Test {
 protected:
  static constexpr int64_t kGroupBytes = 256;
  PrefixFiles::Options Options(int64_t max_bytes = 1 << 20) {
    return {dir_.File("cache"), 7, max_bytes, kGroupBytes, 5};
  }
  std::unique_ptr<PrefixFiles> Open(int64_t max_bytes = 1 << 20) {
    auto files = PrefixFiles::Open(Options(max_bytes));
    EXPECT_TRUE(files.ok()) << files.message();
    return std::move(*files);
  }
  // Block number i of a prompt of 32-token blocks.
  static std::vector<int32_t> Prefix(int i) {
    std::vector<int32_t> tokens(static_cast<size_t>(32 * (i + 1)));
    for (size_t t = 0; t < tokens.size(); ++t) tokens[t] = static_cast<int32_t>(t * 7 % 1000);
    return tokens;
  }
  static std::shared_ptr<PrefixBlock> Block(int i, bool is_end = false) {
    auto block = std::make_shared<PrefixBlock>();
    const std::vector<int32_t> prefix = Prefix(i);
    block->tokens.assign(prefix.end() - 32, prefix.end());
    block->data.assign(kGroupBytes, static_cast<std::byte>(i + 1));
    if (is_end) block->logits = {1, 2, 3, 4, static_cast<float>(i)};
    return block;
  }
  static void ExpectBlock(const std::shared_ptr<const PrefixBlock>& found, int i, bool is_end = false) {
    ASSERT_NE(found, nullptr) << i;
    EXPECT_EQ(found->tokens, Block(i, is_end)->tokens);
    EXPECT_EQ(found->data, Block(i, is_end)->data);
    EXPECT_EQ(found->logits, Block(i, is_end)->logits);
  }
  std::vector<fs::path> Files() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(dir_.File("cache"))) files.push_back(entry.path());
    return files;
  }
  FileTestDir dir_;
};

TEST_F(PrefixFilesTest, BlocksComeBackInAnotherRun) {
  {
    const auto files = Open();
    for (int i = 0; i < 4; ++i) files->Save("route", Prefix(i), Block(i));
    files->Save("", Prefix(3), Block(3, true));
  }
  const auto files = Open();
  for (int i = 0; i < 4; ++i) ExpectBlock(files->Load("route", Prefix(i), 32, false), i);
  ExpectBlock(files->Load("", Prefix(3), 32, true), 3, true);
  EXPECT_EQ(files->Load("", Prefix(3), 32, false), nullptr);
  EXPECT_EQ(files->Load("other", Prefix(0), 32, false), nullptr);
  EngineStats::PrefixCache stats;
  files->AddStats(&stats);
  EXPECT_EQ(stats.disk_blocks, 5);
  EXPECT_EQ(stats.disk_hits, 5);
  EXPECT_EQ(stats.note, "");
  EXPECT_EQ(fs::status(dir_.File("cache")).permissions(), fs::perms::owner_all);
}

TEST_F(PrefixFilesTest, DamageIsNeverAnAnswer) {
  Open()->Save("route", Prefix(1), Block(1, true));
  ASSERT_EQ(Files().size(), 1u);
  const fs::path path = Files()[0];
  const std::string whole = dir_.Get("cache/" + path.filename().string());
  const PrefixFileKey key{7, "route", {}, 32, true, kGroupBytes, 5};
  const std::vector<int32_t> prefix = Prefix(1);
  PrefixFileKey looked_for = key;
  looked_for.prefix = prefix;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int bit : {0, 7}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      EXPECT_FALSE(ParsePrefixFile(std::as_bytes(std::span(damaged)), looked_for).ok()) << at;
    }
    EXPECT_FALSE(ParsePrefixFile(std::as_bytes(std::span(whole).first(at)), looked_for).ok()) << at;
  }
  EXPECT_TRUE(ParsePrefixFile(std::as_bytes(std::span(whole)), looked_for).ok());
  // Through the store: ignored, deleted, and a note.
  std::fstream(path, std::ios::binary | std::ios::in | std::ios::out).seekp(100).put('\x7f');
  const auto files = Open();
  EXPECT_EQ(files->Load("route", prefix, 32, true), nullptr);
  EngineStats::PrefixCache stats;
  files->AddStats(&stats);
  EXPECT_NE(stats.note.find(path.filename().string() + ": checksum: expected"), std::string::npos)
      << stats.note;
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(PrefixFilesTest, WhatBelongsToOthersIsLeftAlone) {
  Open()->Save("", Prefix(0), Block(0));
  PrefixFiles::Options other = Options();
  other.identity = 8;
  const auto files = PrefixFiles::Open(other);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ((*files)->Load("", Prefix(0), 32, false), nullptr);
  std::ofstream(dir_.File("cache/notes.txt")) << "mine";
  // Left by a process that was killed, and by one that still writes.
  const std::string name =
      Files()[0].filename() == "notes.txt" ? Files()[1].filename() : Files()[0].filename();
  std::ofstream(dir_.File("cache/" + name + ".partial.999999999.0")) << "half";
  const std::string own = dir_.File("cache/" + name + ".partial." + std::to_string(::getpid()) + ".9");
  std::ofstream(own) << "half";
  ExpectBlock(Open()->Load("", Prefix(0), 32, false), 0);
  EXPECT_TRUE(fs::exists(dir_.File("cache/notes.txt")));
  EXPECT_TRUE(fs::exists(own));
  EXPECT_EQ(Files().size(), 3u);
}

TEST_F(PrefixFilesTest, TheFolderIsBounded) {
  const auto size =
      static_cast<int64_t>(WritePrefixFile({7, "", Prefix(0), 32, false, kGroupBytes, 5}, *Block(0)).size());
  const auto files = Open(8 * size);
  for (int i = 0; i < 6; ++i) {
    files->Save("", Prefix(i), Block(i));
    files->Flush();
  }
  EngineStats::PrefixCache stats;
  files->AddStats(&stats);
  EXPECT_LE(stats.disk_bytes, 8 * size);
  EXPECT_EQ(stats.disk_blocks, static_cast<int64_t>(Files().size()));
  EXPECT_EQ(files->Load("", Prefix(0), 32, false), nullptr) << "the oldest went";
  ExpectBlock(files->Load("", Prefix(5), 32, false), 5);
  Open(2 * size);
  EXPECT_LE(Files().size(), 2u) << "a smaller bound holds at once";
}

TEST_F(PrefixFilesTest, AFullDiskIsToldAndTolerated) {
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const auto files = Open();
  const rlimit full{64, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &full), 0);
  files->Save("", Prefix(0), Block(0));
  files->Flush();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, handler);
  EngineStats::PrefixCache stats;
  files->AddStats(&stats);
  EXPECT_NE(stats.note.find("cannot write"), std::string::npos) << stats.note;
  EXPECT_EQ(stats.disk_blocks, 0);
  EXPECT_TRUE(Files().empty()) << "no half file";
  EXPECT_EQ(files->Load("", Prefix(0), 32, false), nullptr);
}

TEST_F(PrefixFilesTest, KilledAtAnyMomentWhatIsThereIsWhole) {
  int num_found = 0;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto files = PrefixFiles::Open(Options());
      for (int i = 0; files.ok(); i = (i + 1) % 8) (*files)->Save(std::to_string(round), Prefix(i), Block(i));
      ::_exit(1);
    }
    ::usleep(static_cast<useconds_t>(3000 + 2500 * round));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const auto files = Open();
    for (int i = 0; i < 8; ++i) {
      const auto found = files->Load(std::to_string(round), Prefix(i), 32, false);
      if (found == nullptr) continue;
      ExpectBlock(found, i);
      ++num_found;
    }
    EngineStats::PrefixCache stats;
    files->AddStats(&stats);
    EXPECT_EQ(stats.note, "");
    for (const fs::path& path : Files()) EXPECT_EQ(path.extension(), ".prefix") << path;
  }
  EXPECT_GT(num_found, 0);
}

TEST_F(PrefixFilesTest, ARestartedSchedulerNeedNotComputeAgain) {
  FakeModel model;
  model.ends = false;
  const auto answer = [&] {
    PrefixFiles::Options files = Options();
    files.group_bytes = model.state_spec().layers[0].group_bytes();
    files.vocab_size = kVocab;
    PrefixCache::Options cache;
    cache.block_tokens = 32;
    cache.max_bytes = 1 << 20;
    cache.store = std::move(*PrefixFiles::Open(files));
    Scheduler scheduler(model, nullptr, {1, 32, {}}, {}, std::make_unique<PrefixCache>(std::move(cache)));
    GenerationResult result;
    GenerationRequest request;
    request.prompt.assign(50, 3);
    request.sampling.temperature = 0;
    request.max_tokens = 5;
    request.on_done = [&](GenerationResult done) { result = std::move(done); };
    scheduler.Submit(std::move(request));
    while (scheduler.Step()) {
    }
    return result;
  };
  const GenerationResult first = answer(), second = answer();
  EXPECT_EQ(first.cached_prompt_tokens, 0);
  EXPECT_EQ(second.cached_prompt_tokens, 50);
  EXPECT_EQ(second.tokens, first.tokens);
}

TEST_F(PrefixFilesTest, AnotherModelFileIsAnotherIdentity) {
  std::ofstream(dir_.File("model")) << std::string(100000, 'x');
  const auto identity = [&](const char* settings) { return *ModelIdentity(dir_.File("model"), settings); };
  const uint64_t first = identity("avx2");
  EXPECT_EQ(identity("avx2"), first);
  EXPECT_NE(identity("avx512"), first);
  std::ofstream(dir_.File("model")) << std::string(100000, 'y');
  EXPECT_NE(identity("avx2"), first);
  EXPECT_FALSE(ModelIdentity(dir_.File("nothing"), "").ok());
}

}  // namespace
}  // namespace deepshock
