// SPDX-License-Identifier: Apache-2.0
// A model under a memory limit computes what it computes with all its weights at hand, bit for bit: tiny-moe
// repacked, with room for all, half and a quarter of its experts and for no more than a token needs.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "base/file_test_dir.h"
#include "base/memory_budget.h"
#include "experts/store.h"
#include "runtime/repack.h"
#include "runtime/scheduler.h"

namespace deepshock {
namespace {

const std::string kModel = std::string(DEEPSHOCK_SOURCE_DIR) + "/models/tiny-moe.gguf";

class MemoryLimitTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto report = RepackGguf(kModel, pool_, path_, {});
    ASSERT_TRUE(report.ok()) << report.message();
    resident_ = Load(0);
    ASSERT_NE(resident_, nullptr);
    const auto roomy = Load(int64_t{1} << 30);
    ASSERT_NE(roomy, nullptr);
    const ExpertStoreStats stats = roomy->memory().store->stats();
    num_experts_ = stats.num_experts;
    slot_bytes_ = (stats.disk_bytes / num_experts_ + 4095) / 4096 * 4096;
    always_ = roomy->memory().resident_bytes;
  }

  std::unique_ptr<Model> Load(int64_t memory_bytes) {
    auto model = Model::Load(path_, {true, &pool_, {memory_bytes, KvType::kQ16, 1}});
    EXPECT_TRUE(model.ok()) << model.message();
    return model.ok() ? std::move(*model) : nullptr;
  }
  // Room for `slots` experts beside the states, which take what they need from elsewhere.
  std::unique_ptr<Model> LoadWithSlots(int64_t slots) { return Load(always_ + slots * slot_bytes_ + 1000); }

  // Prompts of several lengths in one pass in chunks, then some decoding steps; every float that came out.
  std::vector<float> Logits(const Model& model, int num_sequences) {
    Compute compute(BestKernels(), pool_);
    std::mt19937 random(7);
    std::vector<std::unique_ptr<KvCache>> states;
    std::vector<std::vector<int32_t>> tokens;
    for (int s = 0; s < num_sequences; ++s) {
      states.push_back(std::make_unique<KvCache>(model.state_spec(KvType::kQ16), 512));
      EXPECT_TRUE(states.back()->Reserve(200).ok());
      tokens.emplace_back(static_cast<size_t>(90 + 13 * s));
      for (int32_t& t : tokens.back()) {
        t = static_cast<int32_t>(random() % static_cast<uint32_t>(model.spec().vocab_size));
      }
    }
    std::vector<float> all;
    std::vector<size_t> done(tokens.size(), 0);
    for (const size_t step : {size_t{64}, size_t{20}, size_t{1}, size_t{1}, size_t{4}}) {
      std::vector<SequenceChunk> chunks;
      for (size_t s = 0; s < tokens.size(); ++s) {
        chunks.push_back({states[s]->view(), std::span(tokens[s]).subspan(done[s], step), step == 4});
        done[s] += step;
      }
      ForwardOutput output;
      const Status status = model.Forward(compute, chunks, nullptr, &output);
      EXPECT_TRUE(status.ok()) << status.message();
      all.insert(all.end(), output.logits.begin(), output.logits.end());
      all.insert(all.end(), output.hidden.begin(), output.hidden.end());
    }
    return all;
  }
  static bool SameBytes(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  std::vector<std::vector<int32_t>> Generate(const Model& model, Speculation kind, int batch_size,
                                             std::vector<Status>* failures = nullptr) {
    Compute compute(BestKernels(), pool_);
    LoadedModel token_model(model, compute, model.spec().context_length, KvType::kQ16);
    auto sources = MakeDraftSources(kind, token_model);
    EXPECT_TRUE(sources.ok()) << sources.message();
    Scheduler scheduler(token_model, nullptr, {batch_size, 32, {}, 3, kind == Speculation::kAuto},
                        std::move(*sources));
    std::vector<std::vector<int32_t>> results(10);
    for (size_t i = 0; i < results.size(); ++i) {
      GenerationRequest request;
      for (size_t t = 0; t < 20 + 7 * i; ++t) {
        request.prompt.push_back(static_cast<int32_t>((t * 31 + i * 7) % 500));
      }
      request.max_tokens = 24;
      request.sampling.temperature = i % 2 == 0 ? 0 : 0.8;
      request.sampling.seed = i;
      request.on_done = [&results, i, failures](GenerationResult result) {
        if (failures != nullptr && !result.status.ok()) {
          failures->push_back(result.status);
        } else {
          EXPECT_TRUE(result.status.ok()) << result.status.message();
        }
        results[i] = std::move(result.tokens);
      };
      scheduler.Submit(std::move(request));
    }
    while (scheduler.Step()) {
    }
    return results;
  }

  FileTestDir dir_;
  std::string path_ = dir_.File("tiny.repacked.gguf");
  ThreadPool pool_{2};
  std::unique_ptr<Model> resident_;
  int64_t num_experts_ = 0, slot_bytes_ = 0, always_ = 0;
};

TEST_F(MemoryLimitTest, LogitsAreThoseOfTheResidentModel) {
  for (const int num_sequences : {1, 8}) {
    const std::vector<float> expected = Logits(*resident_, num_sequences);
    for (const int64_t slots : {num_experts_, num_experts_ / 2, num_experts_ / 4, int64_t{8}}) {
      const auto model = LoadWithSlots(slots);
      ASSERT_NE(model, nullptr);
      EXPECT_TRUE(SameBytes(Logits(*model, num_sequences), expected))
          << slots << " slots, " << num_sequences << " sequences";
      const ExpertStoreStats stats = model->memory().store->stats();
      EXPECT_EQ(stats.capacity, slots);
      if (slots < num_experts_) {
        EXPECT_GT(stats.evictions, 0) << "the limit was not felt";
      } else {
        EXPECT_EQ(stats.loads, stats.num_resident) << "something was read twice";
      }
    }
  }
}

TEST_F(MemoryLimitTest, TokensAreThoseOfTheResidentModelWithAndWithoutSpeculation) {
  const auto expected = Generate(*resident_, Speculation::kOff, 1);
  for (const int64_t slots : {num_experts_, num_experts_ / 2, num_experts_ / 4}) {
    for (const int batch_size : {1, 8}) {
      for (const Speculation kind : {Speculation::kOff, Speculation::kMtp}) {
        // States come out of the same budget here, so that slots go and come.
        const auto model = LoadWithSlots(slots);
        ASSERT_NE(model, nullptr);
        EXPECT_EQ(Generate(*model, kind, batch_size), expected) << slots << " slots, batch " << batch_size;
        EXPECT_EQ(model->memory().store->stats().capacity, slots) << "states gave back what they took";
      }
    }
  }
}

TEST_F(MemoryLimitTest, AChunkLoadsEachExpertOnce) {
  const auto model = LoadWithSlots(8);  // fewer than a layer has
  Compute compute(BestKernels(), pool_);
  KvCache state(model->state_spec(), 512);
  ASSERT_TRUE(state.Reserve(512).ok());
  std::vector<int32_t> tokens(400);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i % 900);
  ForwardOutput output;
  const SequenceChunk chunk{state.view(), tokens, false};
  ASSERT_TRUE(model->Forward(compute, {&chunk, 1}, nullptr, &output).ok());
  const ExpertStoreStats stats = model->memory().store->stats();
  EXPECT_EQ(stats.loads, stats.misses);
  EXPECT_LE(stats.loads, num_experts_);
  EXPECT_GT(stats.loads, 8);
}

TEST_F(MemoryLimitTest, AFileThatShrinksEndsRequestsAndIsForgivenWhenItIsBack) {
  const auto expected = Generate(*resident_, Speculation::kOff, 4);
  const auto model = LoadWithSlots(num_experts_ / 4);
  const std::string whole = dir_.Get("tiny.repacked.gguf");
  ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(whole.size() / 2)), 0);
  std::vector<Status> failures;
  Generate(*model, Speculation::kOff, 4, &failures);
  ASSERT_FALSE(failures.empty());
  for (const Status& failure : failures) {
    EXPECT_NE(failure.message().find("the file has become shorter"), std::string::npos) << failure.message();
  }
  // In place, as the reader has it open.
  std::fstream(path_, std::ios::binary | std::ios::in | std::ios::out) << whole;
  EXPECT_EQ(Generate(*model, Speculation::kOff, 4), expected);
  EXPECT_EQ(model->memory().store->stats().capacity, num_experts_ / 4);
}

TEST_F(MemoryLimitTest, RequestsWaitForMemoryAndOneThatCannotFitEndsAlone) {
  const auto model = Load(always_ + 8 * slot_bytes_ + (3 << 20));  // states of some 1100 tokens
  ASSERT_NE(model, nullptr);
  Compute compute(BestKernels(), pool_);
  LoadedModel token_model(*model, compute, model->spec().context_length, KvType::kQ16);
  const int64_t capacity = model->memory().store->stats().capacity;
  for (int round = 0; round < 2; ++round) {
    Scheduler scheduler(token_model, nullptr, {5, 512, {}, 3, false});
    std::vector<GenerationResult> results(5);
    for (int i = 0; i < 5; ++i) {
      GenerationRequest request;
      for (int t = 0; t < (i == 2 ? 1900 : 400); ++t) request.prompt.push_back((t * 31 + i * 7) % 500);
      request.max_tokens = 80;
      request.ignore_eos = true;
      request.sampling.temperature = 0;
      request.on_done = [&results, i](GenerationResult result) {
        results[static_cast<size_t>(i)] = std::move(result);
      };
      scheduler.Submit(std::move(request));
    }
    int64_t most_running = 0;
    while (scheduler.Step()) most_running = std::max(most_running, scheduler.stats().running);
    EXPECT_EQ(most_running, 2) << "the limit was not felt";
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(results[i].status.ok(), i != 2) << results[i].status.message();
      EXPECT_EQ(results[i].tokens.size(), i == 2 ? 0u : 80u);
    }
    EXPECT_NE(results[2].status.message().find("state of 1901 tokens: memory: expected at most"),
              std::string::npos)
        << results[2].status.message();
    EXPECT_EQ(model->memory().store->stats().capacity, capacity) << "states gave back what they took";
  }
}

TEST_F(MemoryLimitTest, LimitsThatCannotHoldSayWhatWould) {
  const auto message = [&](const std::string& path, int64_t bytes) {
    const auto model = Model::Load(path, {true, &pool_, {bytes}});
    return model.ok() ? std::string() : model.message();
  };
  EXPECT_NE(message(path_, 1 << 20).find("expected at least"), std::string::npos) << message(path_, 1 << 20);
  EXPECT_NE(message(path_, 1 << 20).find("found 1.00 MiB"), std::string::npos);
  const std::string plain = message(kModel, 20 << 20);
  EXPECT_NE(plain.find("deepshock repack "), std::string::npos) << plain;
  // A file that fits is used as ever, and its states have the rest.
  const auto fits = Model::Load(kModel, {true, &pool_, {64 << 20}});
  ASSERT_TRUE(fits.ok()) << fits.message();
  EXPECT_EQ((*fits)->memory().store, nullptr);
  EXPECT_FALSE((*fits)->memory().budget->Take(64 << 20).ok());
  EXPECT_TRUE((*fits)->memory().budget->Take(1 << 20).ok());
  // States that do not fit end their request.
  const auto small = LoadWithSlots(8);
  KvCache state(small->state_spec(), 1 << 20, small->memory().budget.get());
  EXPECT_NE(state.Reserve(1 << 18).message().find("state of 262144 tokens: memory: expected at most"),
            std::string::npos)
      << state.Reserve(1 << 18).message();
  EXPECT_EQ(state.capacity(), 0);
}

}  // namespace
}  // namespace deepshock
