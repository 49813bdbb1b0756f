// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <random>

#include "base/json.h"
#include "base/mapped_file.h"
#include "model/arch/gguf_parts.h"
#include "model/arch/published_configs.h"
#include "model/arch/spec_dump.h"
#include "model/registry.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

class GgufSpecTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = (fs::temp_directory_path() / fmt::format("arch_gguf_test_{}.gguf", getpid())).string();
  }
  void TearDown() override { fs::remove(path_); }

  // A file of `set_keys` and a one-element tensor for each name.
  void Write(const std::function<void(GgufWriter&)>& set_keys, const std::vector<std::string>& tensors,
             const std::vector<float>& rope_freqs = {}) {
    auto created = GgufWriter::Create(path_);
    ASSERT_TRUE(created.ok()) << created.message();
    GgufWriter& writer = created.value();
    set_keys(writer);
    const int64_t one = 1, count = static_cast<int64_t>(rope_freqs.size());
    for (const std::string& name : tensors)
      ASSERT_TRUE(writer.DeclareTensor(name, DType::kF32, {&one, 1}).ok());
    if (count > 0) {
      ASSERT_TRUE(writer.DeclareTensor("rope_freqs.weight", DType::kF32, {&count, 1}).ok());
    }
    ASSERT_TRUE(writer.Begin().ok());
    const float zero = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      ASSERT_TRUE(writer.WriteTensorData(std::as_bytes(std::span(&zero, 1))).ok());
    }
    if (count > 0) {
      ASSERT_TRUE(writer.WriteTensorData(std::as_bytes(std::span(rope_freqs))).ok());
    }
    const Status finished = writer.Finish();
    ASSERT_TRUE(finished.ok()) << finished.message();
  }

  Result<ModelSpec> Read() {
    DS_ASSIGN(const auto file, GgufFile::Open(path_));
    return SpecFromGguf(*file);
  }

  // The tensors whose presence tells what no key does.
  static std::vector<std::string> TellingTensors(const ModelSpec& spec) {
    std::vector<std::string> names = {"token_embd.weight"};
    if (!spec.tied_head) names.push_back("output.weight");
    if (spec.attention.qkv_bias) names.push_back("blk.0.attn_q.bias");
    if (spec.attention.output_bias) names.push_back("blk.0.attn_output.bias");
    if (spec.attention.qk_norm != QkNorm::kNone) names.push_back("blk.0.attn_q_norm.weight");
    return names;
  }

  // Through a file and back, and what that is expected to give.
  void ExpectRoundTrip(const ModelSpec& spec) {
    const Architecture* architecture = FindArchitecture(spec.architecture);
    ASSERT_NE(architecture, nullptr);
    const auto freqs = RopeDivisors(spec.rope);
    Write(
        [&](GgufWriter& writer) {
          const Status status = architecture->to_gguf(spec, &writer);
          ASSERT_TRUE(status.ok()) << status.message();
        },
        TellingTensors(spec), freqs);
    const auto back = Read();
    ASSERT_TRUE(back.ok()) << back.message();
    ModelSpec expected = spec;
    expected.rope.layout = architecture->gguf.layout;  // llama and mixtral: the converter permutes q and k
    if (!freqs.empty()) {
      const RopeSpec plain;
      expected.rope.divisors = freqs;
      expected.rope.scaling = RopeScaling::kNone;
      expected.rope.factor = 1;
      expected.rope.original_context = 0;
      expected.rope.low_freq_factor = plain.low_freq_factor;
      expected.rope.high_freq_factor = plain.high_freq_factor;
    }
    EXPECT_EQ(Dump(back.value()), Dump(expected));
  }

  std::string path_;
};

ModelSpec MustParse(const std::string& text) {
  const auto spec = SpecFromConfig(text, "config.json");
  EXPECT_TRUE(spec.ok()) << spec.message();
  return spec.ok() ? spec.value() : ModelSpec{};
}

TEST_F(GgufSpecTest, PublishedConfigsSurvive) {
  for (const char* text : published::kAll) {
    const ModelSpec spec = MustParse(text);
    SCOPED_TRACE(spec.architecture);
    ExpectRoundTrip(spec);
  }
}

TEST_F(GgufSpecTest, ConformanceConfigsSurvive) {
  const std::string shared = DEEPSHOCK_SHARED_DATA;
  if (!fs::exists(shared + "/conformance")) GTEST_SKIP() << "no shared data";
  int num_sets = 0;
  std::vector<fs::path> folders = {fs::path(shared) / "models" / "tiny-moe"};
  for (const auto& entry : fs::directory_iterator(shared + "/conformance")) folders.push_back(entry.path());
  for (const fs::path& folder : folders) {
    const auto text = ReadFile((folder / "config.json").string(), 1 << 20);
    if (!text.ok()) continue;
    const auto spec = SpecFromConfig(text.value(), "config.json");
    if (!spec.ok()) continue;  // families that registry_test.cc expects to be refused
    SCOPED_TRACE(folder.string());
    ExpectRoundTrip(spec.value());
    ++num_sets;
  }
  EXPECT_EQ(num_sets, 15);
}

// What llama.cpp's keys cannot say goes through deepshock.* keys.
TEST_F(GgufSpecTest, UnusualConfigsSurvive) {
  std::mt19937 random(7);
  const auto pick = [&](int count) { return static_cast<int>(random() % static_cast<unsigned>(count)); };
  for (int round = 0; round < 120; ++round) {
    const char* base = published::kAll[static_cast<size_t>(pick(12))];
    Json json = Json::parse(base);
    const std::string type = json["model_type"];
    const int num_layers = json["num_hidden_layers"];
    json["tie_word_embeddings"] = pick(2) == 0;
    json["rms_norm_eps"] = pick(2) == 0 ? 1e-5 : 3.7e-7;
    json["rope_theta"] = 1000.0 * (2 + pick(100000));
    json["eos_token_id"] = {pick(1000), 1000 + pick(1000)};
    json["bos_token_id"] = pick(2) == 0 ? Json(nullptr) : Json(pick(1000));
    if (pick(2) == 0) {
      Json rope = {{"type", "yarn"}, {"factor", 0.5 * (1 + pick(100))}, {"beta_fast", 2 + pick(60)}};
      if (pick(2) == 0) rope["mscale"] = pick(2000) / 1000.0;
      if (pick(2) == 0) rope["mscale_all_dim"] = pick(2000) / 1000.0;
      if (pick(2) == 0) rope["truncate"] = pick(2) == 0;
      if (pick(4) == 0) rope["attention_factor"] = (100 + pick(100)) / 100.0;
      if (pick(2) == 0) rope["original_max_position_embeddings"] = 1 + pick(100000);
      json["rope_scaling"] = rope;
    } else if (pick(2) == 0) {
      json["rope_scaling"] = {{"type", "linear"}, {"factor", 1.5 + pick(100)}};
    }
    if (type == "qwen3_moe" || type == "qwen2_moe") {
      json["decoder_sparse_step"] = 1 + pick(3);
      json["mlp_only_layers"] = {pick(num_layers), pick(num_layers)};
      json["norm_topk_prob"] = pick(2) == 0;
      json["use_sliding_window"] = pick(2) == 0;
      json["sliding_window"] = 1 + pick(5000);
      json["max_window_layers"] = pick(num_layers);
    } else if (type.starts_with("deepseek") || type == "kimi_k2" || type == "glm4_moe") {
      json["first_k_dense_replace"] = pick(num_layers);
      json["moe_layer_freq"] = 1 + pick(2);
      json["routed_scaling_factor"] = (1 + pick(20000)) / 1000.0;
      json["norm_topk_prob"] = pick(2) == 0;
      json["n_shared_experts"] = pick(3);
      json["num_nextn_predict_layers"] = pick(3);
      json["use_qk_norm"] = pick(2) == 0;
    } else if (type == "gpt_oss") {
      json["swiglu_limit"] = (1 + pick(100)) / 10.0;
      json["layer_types"][static_cast<size_t>(pick(num_layers))] = "full_attention";
    } else if (type == "mixtral" || type == "mistral") {
      json["sliding_window"] = pick(2) == 0 ? Json(nullptr) : Json(1 + pick(5000));
    } else if (type == "llama") {
      json["attention_bias"] = pick(2) == 0;
      json["head_dim"] = 2 * (1 + pick(100));
    }
    SCOPED_TRACE(json.dump());
    ExpectRoundTrip(MustParse(json.dump()));
    if (HasFailure()) return;
  }
}

// The keys as llama.cpp's converter wrote them before the MLA form: attn_kv_b, no *_mla keys, no gating
// function.
TEST_F(GgufSpecTest, OldDeepSeekForm) {
  const auto keys = [](GgufWriter& w) {
    w.SetString("general.architecture", "deepseek2");
    w.SetString("general.name", "DeepSeek-V2-Lite");
    w.SetU32("deepseek2.block_count", 27);
    w.SetU32("deepseek2.context_length", 163840);
    w.SetU32("deepseek2.embedding_length", 2048);
    w.SetU32("deepseek2.feed_forward_length", 10944);
    w.SetU32("deepseek2.attention.head_count", 16);
    w.SetU32("deepseek2.attention.head_count_kv", 16);
    w.SetF32("deepseek2.rope.freq_base", 10000);
    w.SetF32("deepseek2.attention.layer_norm_rms_epsilon", 1e-6f);
    w.SetU32("deepseek2.expert_used_count", 6);
    w.SetU32("deepseek2.leading_dense_block_count", 1);
    w.SetU32("deepseek2.vocab_size", 102400);
    w.SetU32("deepseek2.attention.kv_lora_rank", 512);
    w.SetU32("deepseek2.attention.key_length", 192);
    w.SetU32("deepseek2.attention.value_length", 128);
    w.SetU32("deepseek2.expert_feed_forward_length", 1408);
    w.SetU32("deepseek2.expert_count", 64);
    w.SetU32("deepseek2.expert_shared_count", 2);
    w.SetF32("deepseek2.expert_weights_scale", 1);
    w.SetU32("deepseek2.rope.dimension_count", 64);
    w.SetString("deepseek2.rope.scaling.type", "yarn");
    w.SetF32("deepseek2.rope.scaling.factor", 40);
    w.SetU32("deepseek2.rope.scaling.original_context_length", 4096);
    w.SetF32("deepseek2.rope.scaling.yarn_log_multiplier", 0.0707f);
    w.SetU32("tokenizer.ggml.bos_token_id", 100000);
    w.SetU32("tokenizer.ggml.eos_token_id", 100001);
  };
  Write(keys, {"token_embd.weight", "output.weight"});
  const auto spec = Read();
  ASSERT_TRUE(spec.ok()) << spec.message();
  ModelSpec expected = MustParse(published::kDeepSeekV2Lite);
  expected.name = "DeepSeek-V2-Lite";
  EXPECT_EQ(Dump(spec.value()), Dump(expected));

  // The same with a selection bias is a V3.
  Write(keys, {"token_embd.weight", "output.weight", "blk.1.exp_probs_b.bias"});
  const auto v3 = Read();
  ASSERT_TRUE(v3.ok()) << v3.message();
  EXPECT_EQ(v3.value().architecture, "deepseek_v3");
}

// gpt-oss as llama.cpp converts it: no pattern, no truncate.
TEST_F(GgufSpecTest, LlamaCppGptOss) {
  Write(
      [](GgufWriter& w) {
        w.SetString("general.architecture", "gpt-oss");
        w.SetU32("gpt-oss.vocab_size", 201088);
        w.SetU32("gpt-oss.block_count", 24);
        w.SetU32("gpt-oss.context_length", 131072);
        w.SetU32("gpt-oss.embedding_length", 2880);
        w.SetU32("gpt-oss.feed_forward_length", 2880);
        w.SetU32("gpt-oss.attention.head_count", 64);
        w.SetU32("gpt-oss.attention.head_count_kv", 8);
        w.SetF32("gpt-oss.rope.freq_base", 150000);
        w.SetF32("gpt-oss.attention.layer_norm_rms_epsilon", 1e-5f);
        w.SetU32("gpt-oss.expert_count", 32);
        w.SetU32("gpt-oss.expert_used_count", 4);
        w.SetU32("gpt-oss.attention.key_length", 64);
        w.SetU32("gpt-oss.attention.value_length", 64);
        w.SetU32("gpt-oss.attention.sliding_window", 128);
        w.SetU32("gpt-oss.expert_feed_forward_length", 2880);
        w.SetString("gpt-oss.rope.scaling.type", "yarn");
        w.SetF32("gpt-oss.rope.scaling.factor", 32);
        w.SetU32("gpt-oss.rope.scaling.original_context_length", 4096);
        w.SetU32("tokenizer.ggml.eos_token_id", 200002);
      },
      {"token_embd.weight", "output.weight", "blk.0.attn_q.bias", "blk.0.attn_output.bias"});
  const auto spec = Read();
  ASSERT_TRUE(spec.ok()) << spec.message();
  EXPECT_EQ(Dump(spec.value()), Dump(MustParse(published::kGptOss20b)));
}

TEST_F(GgufSpecTest, BadKeysSayWhatIsWrong) {
  struct Case {
    const char* expected;
    std::function<void(GgufWriter&)> change;
  };
  const Case cases[] = {
      {"general.architecture\": expected one of deepseek2, llama",
       [](GgufWriter& w) { w.SetString("general.architecture", "deepseek32"); }},
      {"found 5", [](GgufWriter& w) { w.SetU32("deepseek2.expert_gating_func", 5); }},
      {"deepseek2.block_count", [](GgufWriter& w) { w.SetU32("deepseek2.block_count", 0); }},
      {"deepseek2.block_count", [](GgufWriter& w) { w.SetString("deepseek2.block_count", "61"); }},
      {"deepseek2.nextn_predict_layers",
       [](GgufWriter& w) { w.SetU32("deepseek2.nextn_predict_layers", 62); }},
      {"deepseek2.embedding_length",
       [](GgufWriter& w) { w.SetU32("deepseek2.embedding_length", UINT32_MAX); }},
      {"deepseek2.rope.dimension_count",
       [](GgufWriter& w) { w.SetU32("deepseek2.rope.dimension_count", 192); }},
      {"deepseek2.rope.scaling.type",
       [](GgufWriter& w) { w.SetString("deepseek2.rope.scaling.type", "longrope"); }},
      {"deepseek2.rope.freq_base", [](GgufWriter& w) { w.SetF32("deepseek2.rope.freq_base", NAN); }},
      {"deepseek2.attention.layer_norm_rms_epsilon",
       [](GgufWriter& w) { w.SetF32("deepseek2.attention.layer_norm_rms_epsilon", -1); }},
      {"deepseek2.expert_shared_count",
       [](GgufWriter& w) { w.SetU32("deepseek2.expert_shared_count", 1 << 20); }},
      {"expert groups", [](GgufWriter& w) { w.SetU32("deepseek2.expert_group_count", 7); }},
      {"chosen experts", [](GgufWriter& w) { w.SetU32("deepseek2.expert_used_count", 200); }},
      {"deepshock.moe_layers",
       [](GgufWriter& w) {
         w.SetI32s("deepshock.moe_layers", std::vector<int32_t>{1, 0});
       }},
      {"the same number for every layer",
       [](GgufWriter& w) {
         w.SetI32s("deepseek2.feed_forward_length", std::vector<int32_t>{1, 2});
       }},
      {"deepshock.eos_token_ids",
       [](GgufWriter& w) { w.SetI32s("deepshock.eos_token_ids", std::vector<int32_t>{-3}); }},
  };
  const ModelSpec good = MustParse(published::kDeepSeekV3);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.expected);
    // A second key of the same name would be refused, so the good file's keys are copied without the changed
    // one.
    ExpectRoundTrip(good);
    auto opened = GgufFile::Open(path_);
    ASSERT_TRUE(opened.ok()) << opened.message();
    const std::string changed_path = path_ + ".changed";
    auto created = GgufWriter::Create(changed_path);
    ASSERT_TRUE(created.ok());
    GgufWriter& writer = created.value();
    c.change(writer);
    ASSERT_TRUE(writer.Begin().ok());
    ASSERT_TRUE(writer.Finish().ok());
    const auto changed = GgufFile::Open(changed_path);
    ASSERT_TRUE(changed.ok()) << changed.message();
    const std::string changed_key = changed.value()->metadata().begin()->first;
    Write(
        [&](GgufWriter& w) {
          c.change(w);
          for (const auto& [key, value] : opened.value()->metadata()) {
            if (key == changed_key || key == "general.alignment") continue;
            GgufType type = GgufType::kU32;
            if (const auto* scalar = std::get_if<GgufScalar>(&value)) {
              if (std::holds_alternative<double>(*scalar)) type = GgufType::kF32;
              if (std::holds_alternative<bool>(*scalar)) type = GgufType::kBool;
              if (std::holds_alternative<std::string_view>(*scalar)) type = GgufType::kString;
            }
            w.SetValue(key, value, type);
          }
        },
        TellingTensors(good));
    fs::remove(changed_path);
    const auto spec = Read();
    ASSERT_FALSE(spec.ok());
    EXPECT_EQ(spec.message().rfind(path_, 0), 0u) << spec.message();
    EXPECT_NE(spec.message().find(c.expected), std::string::npos) << spec.message();
  }
}

TEST_F(GgufSpecTest, Llama3OutsideLlamaIsRefused) {
  ModelSpec spec = MustParse(published::kQwen3Moe);
  spec.rope.scaling = RopeScaling::kLlama3;
  auto writer = GgufWriter::Create(path_);
  ASSERT_TRUE(writer.ok());
  const Status status = FindArchitecture("qwen3_moe")->to_gguf(spec, &writer.value());
  EXPECT_NE(status.message().find("llama3"), std::string::npos) << status.message();
}

TEST(ShortestDecimal, GetsBackWhatWasWritten) {
  for (const double value : {1e-6, 1e-5, 0.707, 2.827, 16.0, 10000.0, 1e6, 150000.0, 0.1, 3.7e-7, 0.0}) {
    EXPECT_EQ(ShortestDecimal(static_cast<float>(value)), value);
  }
}

}  // namespace
}  // namespace deepshock
