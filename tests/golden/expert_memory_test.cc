// SPDX-License-Identifier: Apache-2.0
// tiny-moe with experts on disk: what a replayed trace predicts is what the store does, and warming up named
// experts helps held-out text of their kind at once and costs other text nothing. The second half needs the
// reference data.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include "base/byte_size.h"
#include "base/file_test_dir.h"
#include "base/mapped_file.h"
#include "experts/profile.h"
#include "experts/replay.h"
#include "experts/store.h"
#include "model/fingerprint.h"
#include "runtime/expert_plan.h"
#include "runtime/kv_cache.h"
#include "runtime/repack.h"
#include "tests/support/reference_data.h"

namespace deepshock {
namespace {

const std::string kModel = std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf";
constexpr int64_t kMainExperts = 7 * 32;  // without the MTP layer's, which nothing here runs

// What each layer of each pass asked for, as a trace, and as counts.
class Recorder final : public ForwardObserver {
 public:
  explicit Recorder(const ExpertSpace& space)
      : trace(space), counts(space.num_experts(), space.num_chosen()) {}
  void OnRouting(const RoutingView& routing) override {
    std::vector<int32_t> rows(static_cast<size_t>(trace.space().num_experts()), 0);
    for (const int32_t e : routing.experts) ++rows[static_cast<size_t>(e)];
    std::vector<ExpertUse> uses;
    for (size_t e = 0; e < rows.size(); ++e) {
      if (rows[e] > 0) uses.push_back({static_cast<int32_t>(e), rows[e]});
    }
    trace.Add(routing.layer, routing.num_tokens, uses);
    counts.Add(routing.layer, routing.experts, routing.weights);
  }
  UseTrace trace;
  RoutingCounts counts;
};

class ExpertMemory : public testing::Test {
 protected:
  void SetUp() override {
    const auto report = RepackGguf(kModel, pool_, path_, {});
    ASSERT_TRUE(report.ok()) << report.message();
    const auto roomy = Load(int64_t{1} << 30);
    ASSERT_NE(roomy, nullptr);
    always_ = roomy->memory().resident_bytes;
    slot_bytes_ = roomy->memory().store->residency().BytesOf({1, 0});
    fingerprint_ = FingerprintOf(roomy->spec(), roomy->weights());
  }
  std::unique_ptr<Model> Load(int64_t memory_bytes) {
    auto model = Model::Load(path_, {true, &pool_, {memory_bytes}});
    EXPECT_TRUE(model.ok()) << model.message();
    return model.ok() ? std::move(*model) : nullptr;
  }
  // Room for so many experts; states lie elsewhere.
  std::unique_ptr<Model> LoadWithSlots(int64_t slots) { return Load(always_ + slots * slot_bytes_ + 1000); }

  // A pass over the next `count` tokens of each sequence.
  struct Sequence {
    std::unique_ptr<KvCache> state;
    std::vector<int32_t> tokens;
    size_t done = 0;
  };
  Sequence MakeSequence(const Model& model, std::vector<int32_t> tokens) {
    Sequence s{std::make_unique<KvCache>(model.state_spec(KvType::kQ16), 1024), std::move(tokens)};
    EXPECT_TRUE(s.state->Reserve(static_cast<int64_t>(s.tokens.size())).ok());
    return s;
  }
  void Pass(const Model& model, std::vector<Sequence>* sequences, size_t count, ForwardObserver* observer) {
    std::vector<SequenceChunk> chunks;
    for (Sequence& s : *sequences) {
      chunks.push_back({s.state->view(), std::span(s.tokens).subspan(s.done, count), false});
      s.done += count;
    }
    ForwardOutput output;
    const Status status = model.Forward(compute_, chunks, observer, &output);
    ASSERT_TRUE(status.ok()) << status.message();
  }

  FileTestDir dir_;
  const std::string groups_ = dir_.File("groups.json");
  std::string path_ = dir_.File("tiny.repacked.gguf");
  ThreadPool pool_{2};
  Compute compute_{BestKernels(), pool_};
  int64_t always_ = 0, slot_bytes_ = 0;
  ModelFingerprint fingerprint_;
};

// Tokens that differ from sequence to sequence; text makes no difference here.
std::vector<int32_t> SomeTokens(size_t count, uint32_t seed) {
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i)
    tokens[i] = static_cast<int32_t>((i * 2654435761u + seed * 40503u) >> 7 & 4095);
  return tokens;
}

TEST_F(ExpertMemory, ReplayPredictsTheStore) {
  for (const char* policy : {"lru", "frequency"}) {
    for (const int64_t slots : {int64_t{16}, kMainExperts / 4, kMainExperts / 2, kMainExperts * 3 / 4}) {
      for (const int batch : {1, 8}) {
        const auto model = LoadWithSlots(slots);
        ASSERT_NE(model, nullptr);
        ExpertOptions options;
        options.policy = policy;
        ASSERT_TRUE(PrepareExperts(*model, groups_, options).ok());
        const ExpertStore& store = *model->memory().store;
        Recorder recorder(store.residency().space());
        std::vector<Sequence> sequences;
        for (int s = 0; s < batch; ++s) {
          sequences.push_back(MakeSequence(*model, SomeTokens(160, static_cast<uint32_t>(s))));
        }
        Pass(*model, &sequences, 48, &recorder);
        Pass(*model, &sequences, 32, &recorder);
        for (int step = 0; step < 80; ++step) Pass(*model, &sequences, 1, &recorder);

        ReplayOptions replay;
        replay.policy = policy;
        replay.capacity_bytes = slots * slot_bytes_;
        const std::vector<int64_t> layer_bytes(recorder.trace.space().num_layers(), slot_bytes_);
        const Result<ReplayResult> predicted = Replay(recorder.trace, layer_bytes, replay);
        ASSERT_TRUE(predicted.ok()) << predicted.message();
        const ExpertStoreStats real = store.stats();
        // The bar is a point; without prefetching the same decisions are made.
        EXPECT_EQ(predicted->stats.hits, real.hits) << policy << " " << slots << " " << batch;
        EXPECT_EQ(predicted->stats.touched, real.hits + real.misses);
        EXPECT_EQ(predicted->stats.evictions, real.evictions);
        EXPECT_GT(real.misses, 0);
      }
    }
  }
}

TEST_F(ExpertMemory, WhatIsPinnedStaysAndWarmSetsComeBack) {
  const std::string warm_set = dir_.File("warm.json");
  std::vector<ExpertId> kept;
  {
    const auto model = LoadWithSlots(64);
    ExpertOptions options;
    options.pin = {"1:3", "7:31"};
    Result<ExpertReport> report = PrepareExperts(*model, groups_, options);
    ASSERT_TRUE(report.ok()) << report.message();
    EXPECT_EQ(report->pinned, 2);
    EXPECT_EQ(report->loaded, 2);
    std::vector<Sequence> one;
    one.push_back(MakeSequence(*model, SomeTokens(64, 1)));
    for (int step = 0; step < 64; ++step) Pass(*model, &one, 1, nullptr);
    const Residency& books = model->memory().store->residency();
    EXPECT_TRUE(books.Contains({1, 3}) && books.Contains({7, 31}));
    EXPECT_GT(books.stats().evictions, 0);
    ASSERT_TRUE(SaveWarmSet(*model, warm_set).ok());
    kept = books.ResidentByWorth();
  }
  const auto model = LoadWithSlots(64);
  ExpertOptions options;
  options.warm_set_path = warm_set;
  const Result<ExpertReport> report = PrepareExperts(*model, groups_, options);
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_EQ(report->loaded, 64);
  for (const ExpertId& id : kept) EXPECT_TRUE(model->memory().store->residency().Contains(id));
}

TEST_F(ExpertMemory, SaysWhatCannotBe) {
  const auto model = LoadWithSlots(9);
  ASSERT_NE(model, nullptr);
  ExpertOptions options;
  for (int e = 0; e < 9; ++e) options.pin.push_back(fmt::format("1:{}", e));
  EXPECT_EQ(
      PrepareExperts(*model, groups_, options).message(),
      fmt::format("--pin_experts: expected at most 8 of the 9 experts that there is memory for ({} each), so "
                  "that one place is left for the others; found 9",
                  FormatByteSize(slot_bytes_)));
  options.pin = {"0:0"};
  EXPECT_EQ(PrepareExperts(*model, groups_, options).message(),
            "--pin_experts: expected a layer with experts, of 1 to 8, and an expert of 0 to 31, found '0:0'");
  options = {};
  options.policy = "profile";
  EXPECT_FALSE(PrepareExperts(*model, groups_, options).ok());
  options = {};
  options.warmup = {"code_expert"};
  EXPECT_NE(PrepareExperts(*model, groups_, options).message().find("known groups: none"), std::string::npos);
  const auto resident = Load(0);
  EXPECT_FALSE(SaveWarmSet(*resident, dir_.File("x.json")).ok());
}

// -- held-out text ------------------------------------------------------------------------------------------

const std::string kShippedGroups = GroupsPathOf(kModel);
constexpr size_t kLength = 512, kSequences = 24, kFirst = 64;

class WarmUpOnText : public ExpertMemory {
 protected:
  void SetUp() override {
    if (TinyMoeFolder().empty()) GTEST_SKIP() << "the tiny-moe reference is absent";
    ExpertMemory::SetUp();
    for (const char* set : {"text", "code", "zh", "chat"}) {
      const auto file =
          MappedFile::Open(SharedData(std::string("models/tiny-moe/reference/") + set + ".val.i32"));
      ASSERT_TRUE(file.ok()) << file.message();
      std::vector<int32_t>& tokens = tokens_[set];
      tokens.resize((*file)->bytes().size() / sizeof(int32_t));
      std::memcpy(tokens.data(), (*file)->bytes().data(), tokens.size() * sizeof(int32_t));
      ASSERT_EQ(tokens.size(), kLength * kSequences);
    }
  }

  std::vector<int32_t> Tokens(const std::string& set, size_t sequence, size_t from, size_t count) {
    const auto begin = tokens_[set].begin() + static_cast<std::ptrdiff_t>(sequence * kLength + from);
    return {begin, begin + static_cast<std::ptrdiff_t>(count)};
  }

  // Hit rate in percent over the first 64 tokens of many windows of held-out text, each in a model just
  // loaded with room for half of the experts: as a prompt in one pass, or one by one.
  double FirstHitRate(const std::string& set, bool warm, bool as_prompt) {
    int64_t hits = 0, touched = 0;
    for (size_t s = 0; s < kSequences; s += 6) {
      for (size_t from = 0; from + kFirst <= kLength; from += as_prompt ? kFirst : 3 * kFirst) {
        const auto model = LoadWithSlots(kMainExperts / 2);
        ExpertOptions options;
        if (warm) options.warmup = {"code_expert"};
        const Result<ExpertReport> report = PrepareExperts(*model, kShippedGroups, options);
        EXPECT_TRUE(report.ok()) << report.message();
        std::vector<Sequence> one;
        one.push_back(MakeSequence(*model, Tokens(set, s, from, kFirst)));
        const size_t step = as_prompt ? kFirst : 1;
        for (size_t t = 0; t < kFirst; t += step) Pass(*model, &one, step, nullptr);
        const ExpertStoreStats stats = model->memory().store->stats();
        hits += stats.hits;
        touched += stats.hits + stats.misses;
      }
    }
    return 100 * static_cast<double>(hits) / static_cast<double>(touched);
  }

  std::map<std::string, std::vector<int32_t>> tokens_;
};

TEST_F(WarmUpOnText, HelpsItsOwnKindAndCostsOthersNothing) {
  for (const bool as_prompt : {true, false}) {
    for (const char* set : {"code", "text", "zh", "chat"}) {
      const double cold = FirstHitRate(set, false, as_prompt), warm = FirstHitRate(set, true, as_prompt);
      std::printf("%-4s first %zu tokens %s: cold %.1f %%, code_expert warmed %.1f %%\n", set, kFirst,
                  as_prompt ? "as a prompt " : "one by one  ", cold, warm);
      // One by one, warming up saves at most the 112 first reads of 64 x 28 uses: 6 points.
      const bool own = std::string(set) == "code";
      EXPECT_GE(warm, cold + (!own ? -1 : as_prompt ? 10 : 1));
    }
  }
}

}  // namespace
}  // namespace deepshock
