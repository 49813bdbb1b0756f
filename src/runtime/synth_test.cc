// SPDX-License-Identifier: Apache-2.0
#include "runtime/synth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/file_test_dir.h"
#include "base/mapped_file.h"
#include "model/model.h"
#include "runtime/kv_cache.h"
#include "runtime/model_text.h"
#include "tensor/codec.h"

namespace deepshock {
namespace {

class SynthTest : public testing::Test {
 protected:
  // Writes the tiny shape and returns the file's path.
  std::string Write(const std::string& name, const std::string& types, int threads = 2, uint64_t seed = 1) {
    const auto spec = SynthSpec("tiny", 0);
    const auto parsed = SynthTypes::Parse(types);
    EXPECT_TRUE(spec.ok() && parsed.ok()) << types << spec.message() << parsed.message();
    ThreadPool pool(threads);
    const auto report =
        WriteSynth(*spec, *parsed, {.name = "test", .seed = seed, .progress = {}}, pool, folder_.File(name));
    EXPECT_TRUE(report.ok()) << report.message();
    return folder_.File(name);
  }
  static std::string Bytes(const std::string& path) {
    const auto file = MappedFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.message();
    const auto bytes = (*file)->bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  FileTestDir folder_;
};

TEST_F(SynthTest, EveryTypeHasTheWantedDeviationAndNoMean) {
  for (const char* name : {"f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k",
                           "q4_k", "q5_k", "q6_k", "mxfp4"}) {
    const DType dtype = *ParseDType(name);
    constexpr int64_t kElements = 1 << 20;
    constexpr double kDeviation = 0.02;
    std::vector<std::byte> bytes(static_cast<size_t>(RowBytes(dtype, kElements)));
    BlockSource(dtype, 0, kDeviation).Fill(7, 0, bytes);
    std::vector<float> values(kElements);
    DecodeRow(Matrix{dtype, 1, kElements, bytes.data(), static_cast<int64_t>(bytes.size())}, 0,
              values.data());
    double sum = 0, squares = 0;
    for (const float v : values) {
      ASSERT_TRUE(std::isfinite(v)) << name;
      sum += v;
      squares += double{v} * v;
    }
    // Values of a block share their scale's sign, so the mean of 2^20 values is as sure as that of 2^12
    // blocks.
    EXPECT_LT(std::abs(sum / kElements), 5 * kDeviation / 64) << name;
    // MXFP4 has powers of two only: half the blocks below, half above.
    const double off = std::sqrt(squares / kElements) / kDeviation;
    EXPECT_GT(off, dtype == DType::kMxfp4 ? 0.7 : 0.97) << name;
    EXPECT_LT(off, dtype == DType::kMxfp4 ? 1.6 : 1.03) << name;
  }
}

TEST_F(SynthTest, NormsAreOneAndQ8HasNoMinus128) {
  std::vector<float> ones(1000);
  BlockSource(DType::kF32, 1, 0).Fill(1, 0, std::as_writable_bytes(std::span(ones)));
  for (const float v : ones) EXPECT_EQ(v, 1.0f);
  std::vector<std::byte> blocks(34 * 4096);
  BlockSource(DType::kQ8_0, 0, 1).Fill(1, 0, blocks);
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (i % 34 >= 2) {
      EXPECT_NE(blocks[i], std::byte{0x80});
    }
  }
}

TEST_F(SynthTest, SameSeedSameFileOnAnyNumberOfThreads) {
  const std::string one = Bytes(Write("one", "q4_0", 1)), three = Bytes(Write("three", "q4_0", 3)),
                    other = Bytes(Write("other", "q4_0", 2, 2));
  EXPECT_EQ(one, three);
  EXPECT_EQ(one.size(), other.size());
  EXPECT_NE(one, other);
}

TEST_F(SynthTest, ModelsOfEveryTypeComputeFiniteLogits) {
  for (const char* types :
       {"q4_0", "q4_k_m", "q8_0", "bf16", "experts=mxfp4,q8_0", "q2_k", "q3_k", "q5_k_m"}) {
    const auto model = Model::Load(Write("model", types));
    ASSERT_TRUE(model.ok()) << types << ": " << model.message();
    EXPECT_EQ((*model)->weights().mtp.size(), 1u);
    ThreadPool pool(2);
    Compute compute(BestKernels(), pool);
    KvCache cache((*model)->state_spec(), 64);
    ASSERT_TRUE(cache.Reserve(32).ok());
    std::vector<int32_t> tokens(32);
    std::iota(tokens.begin(), tokens.end(), 300);
    const SequenceChunk chunk{cache.view(), tokens, true};
    ForwardOutput output;
    const Status status = (*model)->Forward(compute, {&chunk, 1}, nullptr, &output);
    ASSERT_TRUE(status.ok()) << status.message();
    double squares = 0;
    for (const float v : output.logits) squares += double{v} * v;
    const double deviation = std::sqrt(squares / static_cast<double>(output.logits.size()));
    EXPECT_GT(deviation, 0.3) << types;  // NaN fails too
    EXPECT_LT(deviation, 3) << types;
  }
}

TEST_F(SynthTest, TextGoesThroughTheVocabulary) {
  const auto text = LoadModelText(Write("text", "q8_0"));
  ASSERT_TRUE(text.ok()) << text.message();
  ASSERT_NE(text->tokenizer, nullptr);
  const std::string words = "Hello world, \xC3\xA9t\xC3\xA9 2024!\n";
  const std::vector<int32_t> ids = text->tokenizer->Encode(words);
  EXPECT_EQ(text->tokenizer->Decode(ids), words);
  EXPECT_LT(ids.size(), words.size());  // merges happen
}

TEST_F(SynthTest, ShapesHaveThePublishedNumberOfParameters) {
  // Billions, from the model cards; DeepSeek-V3 with its MTP layer, whose embedding and head are the model's.
  const std::pair<const char*, double> kPublished[] = {
      {"olmoe-1b-7b", 6.92},   {"qwen1.5-moe-a2.7b", 14.3}, {"deepseek-v2-lite", 15.7}, {"gpt-oss-20b", 20.9},
      {"qwen3-30b-a3b", 30.5}, {"mixtral-8x7b", 46.7},      {"glm-4.5-air", 110},       {"deepseek-v3", 683}};
  for (const auto& [name, billions] : kPublished) {
    const auto spec = SynthSpec(name, 0);
    ASSERT_TRUE(spec.ok()) << spec.message();
    double parameters = 0;
    for (const SynthTensor& tensor : PlanSynth(*spec, *SynthTypes::Parse("q4_k_m"))) {
      double elements = 1;
      for (const int64_t dim : tensor.dims) elements *= static_cast<double>(dim);
      EXPECT_EQ(tensor.dims.back() % Info(tensor.dtype).block_elements, 0) << name << " " << tensor.name;
      parameters += elements;
    }
    EXPECT_NEAR(parameters / 1e9 / billions, 1, 0.01) << name << " " << parameters;
  }
}

TEST_F(SynthTest, MixturesFollowTheirRule) {
  const auto spec = SynthSpec("deepseek-v2-lite", 0);
  std::map<std::string, DType> types;
  for (const SynthTensor& t : PlanSynth(*spec, *SynthTypes::Parse("q4_k_m"))) types[t.name] = t.dtype;
  EXPECT_EQ(types.at("output.weight"), DType::kQ6_K);
  EXPECT_EQ(types.at("token_embd.weight"), DType::kQ4_K);
  EXPECT_EQ(types.at("blk.1.ffn_gate_exps.weight"), DType::kQ4_K);
  EXPECT_EQ(types.at("blk.1.ffn_down_exps.weight"), DType::kQ8_0);  // q6_k, but rows of 1408
  EXPECT_EQ(types.at("blk.4.ffn_down_exps.weight"), DType::kQ5_0);  // q4_k, but rows of 1408
  EXPECT_EQ(types.at("blk.1.attn_k_b.weight"), DType::kQ5_0);       // rows of 128
  EXPECT_EQ(types.at("blk.1.ffn_gate_inp.weight"), DType::kF32);
}

TEST_F(SynthTest, LayersCanBeLeftOut) {
  const auto spec = SynthSpec("deepseek-v3", 5);
  ASSERT_TRUE(spec.ok()) << spec.message();
  EXPECT_EQ(spec->num_layers(), 5);
  EXPECT_FALSE(spec->layers[2].is_moe);
  EXPECT_TRUE(spec->layers[3].is_moe);
  const auto dense_only = SynthSpec("deepseek-v3", 3);
  ASSERT_FALSE(dense_only.ok());
  EXPECT_NE(dense_only.message().find("expected 4 to 61"), std::string::npos) << dense_only.message();
}

TEST_F(SynthTest, WrongArgumentsAreNamed) {
  EXPECT_NE(SynthSpec("gpt-5", 0).message().find("deepseek-v2-lite"), std::string::npos);
  for (const char* types :
       {"q9_9", "heads=q8_0", "q8_0,q4_0", "experts=q8_0", "", "experts=q4_k_m,q8_0", "f8_e4m3", "i32"}) {
    EXPECT_FALSE(SynthTypes::Parse(types).ok()) << types;
  }
}

TEST_F(SynthTest, AnInterruptLeavesNothing) {
  ThreadPool pool(1);
  const auto spec = SynthSpec("tiny", 0);
  const auto report = WriteSynth(*spec, *SynthTypes::Parse("q8_0"),
                                 {.name = "", .seed = 1, .progress = [](int64_t, int64_t) { return false; }},
                                 pool, folder_.File("stopped"));
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(folder_.NumFiles(), 0);
}

}  // namespace
}  // namespace deepshock
