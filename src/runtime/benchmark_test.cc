// SPDX-License-Identifier: Apache-2.0
#include "runtime/benchmark.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file_test_dir.h"
#include "runtime/benchmark_drafts.h"
#include "runtime/synth.h"

namespace deepshock {
namespace {

TEST(BenchTests, NamesGoThroughParse) {
  for (const char* text : {"pp:512", "tg:64:0", "tg:32:2048", "batch:8:32:0", "batch:32:16:128"}) {
    const auto test = BenchTest::Parse(text);
    ASSERT_TRUE(test.ok()) << test.message();
    EXPECT_EQ(test->Name(), text);
  }
  EXPECT_EQ(BenchTest::Parse("tg:64")->Name(), "tg:64:0");
  EXPECT_EQ(BenchTest::Parse("batch:8:32")->Name(), "batch:8:32:0");
  EXPECT_EQ(ParseBenchTests("pp:1,tg:2")->size(), 2u);
  for (const char* text : {"", "pp", "pp:", "pp:0", "pp:-1", "pp:1:2", "pp:1x", "tg:1:2:3", "batch:8",
                           "batch:0:1", "decode:5", "pp:99999999999999999999", "pp:512,"}) {
    EXPECT_FALSE(BenchTest::Parse(text).ok()) << text;
  }
}

TEST(BenchTests, DefaultsFitInAShortContext) {
  for (const int64_t context : {8, 100, 2048, 163840}) {
    for (const BenchTest& test : DefaultBenchTests(context)) {
      EXPECT_GE(test.tokens, 1);
      EXPECT_LE(test.depth + test.tokens + 2, context) << test.Name();
    }
  }
  EXPECT_EQ(DefaultBenchTests(4096)[2].Name(), "tg:32:2048");
}

TEST(BenchTests, SpreadIsMedianAndEnds) {
  EXPECT_EQ(SpreadOf({3, 1, 2}).median, 2);
  EXPECT_EQ(SpreadOf({4, 1, 2, 3}).median, 2.5);
  EXPECT_EQ(SpreadOf({3, 1, 2}).min, 1);
  EXPECT_EQ(SpreadOf({3, 1, 2}).max, 3);
}

class BenchmarkTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto report =
        WriteSynth(*SynthSpec("tiny", 0), *SynthTypes::Parse("q8_0"), {}, pool_, folder_.File("m.gguf"));
    ASSERT_TRUE(report.ok()) << report.message();
    auto model = Model::Load(folder_.File("m.gguf"));
    ASSERT_TRUE(model.ok()) << model.message();
    model_ = std::move(*model);
    options_.repetitions = 3;
    options_.probe_bytes = 1 << 20;
    options_.peak_seconds = 0.001;
  }
  Result<BenchReport> Run(std::string_view tests) {
    options_.tests = *ParseBenchTests(tests);
    Compute compute(BestKernels(), pool_);
    return RunBenchmark(*model_, compute, options_);
  }

  FileTestDir folder_;
  ThreadPool pool_{2};
  std::unique_ptr<Model> model_;
  BenchOptions options_;
};

TEST_F(BenchmarkTest, CountsWhatIsReadAndMultiplied) {
  const auto report = Run("tg:4,tg:4:100,batch:64:2,pp:64");
  ASSERT_TRUE(report.ok()) << report.message();
  const WeightTotals totals = CountWeights(model_->spec(), model_->weights());
  const auto active_bytes = static_cast<double>(totals.active_bytes),
             active_ops = 2 * static_cast<double>(totals.active_parameters);
  const std::vector<BenchResult>& r = report->results;
  ASSERT_EQ(r.size(), 4u);
  // One token reads the active weights and its two tokens of context on average.
  EXPECT_NEAR(r[0].bytes_per_token / active_bytes, 1, 0.01);
  EXPECT_NEAR(r[0].ops_per_token / active_ops, 1, 1e-9);
  // A hundred more tokens of state: at least a byte a value of the latent and the rotary key, at most four.
  const AttentionSpec& a = model_->spec().attention;
  const double values = 100.0 * model_->spec().num_layers() * (a.kv_lora_rank + a.rope_dim);
  EXPECT_GE(r[1].bytes_per_token - r[0].bytes_per_token, values);
  EXPECT_LE(r[1].bytes_per_token - r[0].bytes_per_token, 6 * values);
  EXPECT_NEAR(r[1].ops_per_token / active_ops, 1, 1e-9);
  // 64 sequences choose nearly every expert of every layer, and share what they read.
  const auto all_bytes = static_cast<double>(totals.bytes);
  EXPECT_GT(r[2].bytes_per_token, 0.4 * all_bytes / 64);
  EXPECT_LT(r[2].bytes_per_token, 1.1 * all_bytes / 64);
  EXPECT_NEAR(r[2].ops_per_token / active_ops, 1, 1e-9);
  // A prompt's tokens do without the head, but for the last.
  const double head = 2.0 * static_cast<double>(model_->spec().vocab_size * model_->spec().hidden);
  EXPECT_NEAR(r[3].ops_per_token / (active_ops - head * 63 / 64), 1, 1e-9);
  for (const BenchResult& result : r) {
    EXPECT_EQ(result.tokens_per_second.size(), 3u);
    EXPECT_GT(result.rate.min, 0);
    EXPECT_LE(result.rate.min, result.rate.median);
    EXPECT_LE(result.rate.median, result.rate.max);
    EXPECT_NEAR(result.bandwidth / (result.rate.median * result.bytes_per_token), 1, 1e-9);
    EXPECT_GT(result.bandwidth_share, 0);
  }
  EXPECT_GT(report->read_bandwidth.min, 1e6);
  EXPECT_GT(report->peak.int8_ops, 1e6);
}

TEST_F(BenchmarkTest, ChunksOfAPromptReadTheDenseWeightsAgain) {
  const double once = Run("pp:64")->results[0].bytes_per_token;
  options_.prefill_chunk = 16;
  const auto chunked = Run("pp:64");
  ASSERT_TRUE(chunked.ok()) << chunked.message();
  EXPECT_GT(chunked->results[0].bytes_per_token, 1.5 * once);
}

TEST_F(BenchmarkTest, GoesRoundTheTestsAndCanBeStopped) {
  std::vector<std::string> seen;
  options_.repetitions = 2;
  options_.progress = [&](int64_t, int64_t total, const std::string& test) {
    EXPECT_EQ(total, 6);
    seen.push_back(test);
    return true;
  };
  ASSERT_TRUE(Run("tg:1,pp:4").ok());
  const std::vector<std::string> expected = {"tg:1:0", "pp:4", "tg:1:0", "pp:4", "tg:1:0", "pp:4", ""};
  EXPECT_EQ(seen, expected);
  options_.progress = [](int64_t done, int64_t, const std::string&) { return done < 3; };
  EXPECT_FALSE(Run("tg:1,pp:4").ok());
}

TEST_F(BenchmarkTest, TestsBeyondTheContextAreRefused) {
  const auto report = Run("tg:8:4090");
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.message().find("4096"), std::string::npos) << report.message();
  EXPECT_NE(report.message().find("tg:8:4090"), std::string::npos);
  EXPECT_FALSE(Run("").ok());
  options_.repetitions = 0;
  EXPECT_FALSE(Run("tg:1").ok());
}

TEST_F(BenchmarkTest, DraftsGiveTheSameOutput) {
  Compute compute(BestKernels(), pool_);
  DraftBenchOptions options;
  options.prompt = {300, 301, 302, 300, 301, 302, 300, 301};
  options.tokens = 40;
  options.repetitions = 2;
  for (const Speculation speculation : {Speculation::kMtp, Speculation::kNgram, Speculation::kAuto}) {
    options.speculation = speculation;
    const auto report = MeasureDrafts(*model_, compute, options);
    ASSERT_TRUE(report.ok()) << report.message();
    EXPECT_TRUE(report->same_output);
    EXPECT_GT(report->plain.min, 0);
    EXPECT_GT(report->gain, 0);
    EXPECT_LE(report->accepted_tokens, report->drafted_tokens);
    if (speculation == Speculation::kMtp) {
      EXPECT_GT(report->drafted_tokens, 0);
    }
  }
  options.tokens = 4096;
  EXPECT_NE(MeasureDrafts(*model_, compute, options).message().find("4096"), std::string::npos);
  options.prompt.clear();
  EXPECT_FALSE(MeasureDrafts(*model_, compute, options).ok());
}

}  // namespace
}  // namespace deepshock
