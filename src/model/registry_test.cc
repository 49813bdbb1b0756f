// SPDX-License-Identifier: Apache-2.0
#include "model/registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <set>

#include "base/json.h"
#include "base/mapped_file.h"
#include "model/arch/published_configs.h"
#include "model/arch/spec_dump.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

ModelSpec MustParse(const std::string& text) {
  const auto spec = SpecFromConfig(text, "config.json");
  EXPECT_TRUE(spec.ok()) << spec.message();
  return spec.ok() ? spec.value() : ModelSpec{};
}

int CountMoe(const ModelSpec& spec) {
  return static_cast<int>(std::ranges::count_if(spec.layers, &LayerSpec::is_moe));
}

std::string ConformanceConfig(const std::string& set) {
  const auto text =
      ReadFile(std::string(DEEPSHOCK_SHARED_DATA) + "/conformance/" + set + "/config.json", 1 << 20);
  EXPECT_TRUE(text.ok()) << text.message();
  return text.ok() ? text.value() : "";
}

bool HasSharedData() { return fs::exists(std::string(DEEPSHOCK_SHARED_DATA) + "/conformance"); }

// transformers 5 form -> the form that most published checkpoints carry.
std::string OldStyle(const std::string& text) {
  Json json = Json::parse(text);
  if (json.contains("rope_parameters")) {
    Json rope = json["rope_parameters"];
    json.erase("rope_parameters");
    for (const char* key : {"rope_theta", "partial_rotary_factor"}) {
      if (rope.contains(key)) json[key] = rope[key];
      rope.erase(key);
    }
    if (rope["rope_type"] == "default") {
      json["rope_scaling"] = nullptr;
    } else {
      rope["type"] = rope["rope_type"];
      rope.erase("rope_type");
      json["rope_scaling"] = rope;
    }
  }
  if (json.contains("dtype")) {
    json["torch_dtype"] = json["dtype"];
    json.erase("dtype");
  }
  return json.dump();
}

struct ConformanceSet {
  const char* folder;
  const char* architecture;
  int num_moe;
  int num_dense;
};
constexpr ConformanceSet kSets[] = {
    {"deepseek_v2_lite", "deepseek_v2", 2, 1},
    {"deepseek_v2_grouped_yarn", "deepseek_v2", 2, 1},
    {"deepseek_v3", "deepseek_v3", 2, 1},
    {"deepseek_v3_yarn", "deepseek_v3", 2, 1},
    {"kimi_k2_style", "deepseek_v3", 2, 1},
    {"mixtral", "mixtral", 3, 0},
    {"qwen2_moe", "qwen2_moe", 3, 0},
    {"qwen3_moe", "qwen3_moe", 3, 0},
    {"olmoe", "olmoe", 3, 0},
    {"gpt_oss", "gpt_oss", 4, 0},
    {"glm4_moe", "glm4_moe", 2, 1},
    {"llama", "llama", 0, 3},
    {"qwen2", "qwen2", 0, 3},
    {"qwen3", "qwen3", 0, 3},
};

TEST(Registry, EveryConformanceConfigLoadsInBothStyles) {
  if (!HasSharedData()) GTEST_SKIP() << "no shared data";
  for (const ConformanceSet& set : kSets) {
    SCOPED_TRACE(set.folder);
    const std::string text = ConformanceConfig(set.folder);
    const ModelSpec spec = MustParse(text);
    EXPECT_EQ(spec.architecture, set.architecture);
    EXPECT_EQ(CountMoe(spec), set.num_moe);
    EXPECT_EQ(spec.num_layers() - CountMoe(spec), set.num_dense);
    EXPECT_EQ(spec.hidden, 64);
    EXPECT_EQ(spec.vocab_size, 512);
    EXPECT_EQ(spec.context_length, 512);
    EXPECT_EQ(spec.eos_tokens, std::vector<int32_t>{2});
    EXPECT_EQ(spec.bos_token, 1);
    EXPECT_EQ(Dump(MustParse(OldStyle(text))), Dump(spec));
  }
}

TEST(Registry, ConformanceConfigsOfOtherFamiliesAreRefusedByName) {
  if (!HasSharedData()) GTEST_SKIP() << "no shared data";
  for (const char* set : {"deepseek_v32", "deepseek_v4", "dots1", "ernie4_5_moe", "glm_moe_dsa", "granitemoe",
                          "lfm2_moe", "minimax_m2", "phimoe", "qwen3_next"}) {
    const auto spec = SpecFromConfig(ConformanceConfig(set), "config.json");
    ASSERT_FALSE(spec.ok()) << set;
    EXPECT_NE(spec.message().find("config.json: key \"model_type\": expected one of deepseek_v2, "),
              std::string::npos)
        << spec.message();
    EXPECT_NE(spec.message().find("found \"" + std::string(set) + "\""), std::string::npos) << spec.message();
  }
}

TEST(Registry, ConformanceTraps) {
  if (!HasSharedData()) GTEST_SKIP() << "no shared data";
  const ModelSpec grouped = MustParse(ConformanceConfig("deepseek_v2_grouped_yarn"));
  EXPECT_EQ(grouped.router.num_groups, 4);
  EXPECT_EQ(grouped.router.top_groups, 2);
  EXPECT_EQ(grouped.router.group_score, GroupScore::kMax);
  EXPECT_EQ(grouped.router.scale, 16.0);
  EXPECT_FALSE(grouped.router.normalise);
  EXPECT_DOUBLE_EQ(grouped.rope.magnitude, 1.0);
  const double m = 0.1 * 0.707 * std::log(4.0) + 1;
  EXPECT_DOUBLE_EQ(grouped.attention.softmax_scale, m * m / std::sqrt(48.0));
  EXPECT_EQ(grouped.rope.dims, 16);
  EXPECT_EQ(grouped.rope.layout, RopeLayout::kInterleaved);

  const ModelSpec v3 = MustParse(ConformanceConfig("deepseek_v3"));
  EXPECT_EQ(v3.router.score, RouterScore::kSigmoid);
  EXPECT_EQ(v3.router.group_score, GroupScore::kSumOfTopTwo);
  EXPECT_TRUE(v3.router.has_selection_bias);
  EXPECT_EQ(v3.router.normalise_eps, 1e-20);
  EXPECT_EQ(v3.num_mtp_layers, 1);
  EXPECT_TRUE(v3.mtp_layer.is_moe);
  EXPECT_EQ(v3.expert.shared_width, 32);

  const ModelSpec mixtral = MustParse(ConformanceConfig("mixtral"));
  EXPECT_EQ(mixtral.expert.width, 64);  // not moe_intermediate_size, which is a stray key there
  EXPECT_EQ(mixtral.router.score, RouterScore::kSoftmaxOfChosen);

  const ModelSpec qwen2_moe = MustParse(ConformanceConfig("qwen2_moe"));
  EXPECT_EQ(qwen2_moe.attention.sliding_window, 0);
  EXPECT_EQ(qwen2_moe.expert.shared_width, 96);
  EXPECT_TRUE(qwen2_moe.expert.shared_gate);
  EXPECT_TRUE(qwen2_moe.attention.qkv_bias);
  EXPECT_FALSE(qwen2_moe.attention.output_bias);

  EXPECT_EQ(MustParse(ConformanceConfig("qwen3_moe")).router.num_experts, 8);
  EXPECT_EQ(MustParse(ConformanceConfig("olmoe")).attention.qk_norm, QkNorm::kWhole);
  EXPECT_EQ(MustParse(ConformanceConfig("qwen3")).attention.qk_norm, QkNorm::kPerHead);
  EXPECT_EQ(MustParse(ConformanceConfig("llama")).router.num_experts, 0);

  const ModelSpec oss = MustParse(ConformanceConfig("gpt_oss"));
  EXPECT_EQ(oss.attention.sliding_window, 8);
  EXPECT_TRUE(oss.layers[0].is_sliding);
  EXPECT_FALSE(oss.layers[1].is_sliding);
  EXPECT_FALSE(oss.rope.truncate);
  EXPECT_EQ(oss.expert.clamp_limit, 7.0);

  const ModelSpec glm = MustParse(ConformanceConfig("glm4_moe"));
  EXPECT_EQ(glm.rope.dims, 8);
  EXPECT_EQ(glm.attention.head_dim, 16);
  EXPECT_EQ(glm.rope.layout, RopeLayout::kHalfSplit);
  EXPECT_EQ(glm.attention.qk_norm, QkNorm::kPerHead);
}

TEST(Registry, TinyMoe) {
  const std::string path = std::string(DEEPSHOCK_SHARED_DATA) + "/models/tiny-moe/config.json";
  if (!fs::exists(path)) GTEST_SKIP() << "no shared data";
  const auto text = ReadFile(path, 1 << 20);
  ASSERT_TRUE(text.ok()) << text.message();
  const ModelSpec spec = MustParse(text.value());
  EXPECT_EQ(spec.architecture, "deepseek_v3");
  EXPECT_EQ(spec.attention.q_lora_rank, 0);
  EXPECT_EQ(spec.num_mtp_layers, 1);
  EXPECT_EQ(CountMoe(spec), 7);
  EXPECT_EQ(spec.router.num_groups, 4);
  EXPECT_EQ(spec.eos_tokens, std::vector<int32_t>{1});
  EXPECT_DOUBLE_EQ(spec.attention.softmax_scale, 1 / std::sqrt(96.0));
}

TEST(Registry, PublishedDeepSeek) {
  const ModelSpec v3 = MustParse(published::kDeepSeekV3);
  EXPECT_EQ(v3.num_layers(), 61);
  EXPECT_EQ(CountMoe(v3), 58);
  EXPECT_EQ(v3.num_mtp_layers, 1);
  EXPECT_DOUBLE_EQ(v3.attention.softmax_scale, 0.1352337788608801);
  EXPECT_DOUBLE_EQ(v3.rope.magnitude, 1.0);
  EXPECT_EQ(v3.rope.factor, 40.0);
  EXPECT_EQ(v3.attention.kv_lora_rank + v3.attention.rope_dim, 576);
  EXPECT_EQ(v3.router.num_groups, 8);
  EXPECT_EQ(v3.router.top_groups, 4);
  EXPECT_EQ(v3.router.scale, 2.5);

  const ModelSpec lite = MustParse(published::kDeepSeekV2Lite);
  EXPECT_EQ(lite.attention.q_lora_rank, 0);
  EXPECT_DOUBLE_EQ(lite.attention.softmax_scale, 0.11472138679292611);
  EXPECT_EQ(lite.expert.shared_width, 2816);
  EXPECT_EQ(CountMoe(lite), 26);

  const ModelSpec v2 = MustParse(published::kDeepSeekV2);
  EXPECT_EQ(v2.router.num_groups, 8);
  EXPECT_EQ(v2.router.top_groups, 3);
  EXPECT_EQ(v2.router.scale, 16.0);

  const ModelSpec kimi = MustParse(published::kKimiK2);
  EXPECT_EQ(kimi.architecture, "deepseek_v3");
  EXPECT_EQ(kimi.router.num_experts, 384);
  EXPECT_EQ(CountMoe(kimi), 60);
  EXPECT_EQ(kimi.rope.beta_fast, 1.0);
  EXPECT_EQ(kimi.rope.theta, 50000.0);
  EXPECT_DOUBLE_EQ(kimi.attention.softmax_scale, 0.13086079996295005);
}

TEST(Registry, PublishedOthers) {
  const ModelSpec qwen = MustParse(published::kQwen3Moe);
  EXPECT_EQ(CountMoe(qwen), 48);
  EXPECT_EQ(qwen.attention.head_dim, 128);
  EXPECT_EQ(qwen.attention.num_heads * qwen.attention.head_dim, 4096);
  EXPECT_TRUE(qwen.router.normalise);
  EXPECT_EQ(qwen.attention.sliding_window, 0);
  EXPECT_EQ(qwen.dense_width, 0);

  const ModelSpec oss = MustParse(published::kGptOss20b);
  EXPECT_EQ(std::ranges::count_if(oss.layers, &LayerSpec::is_sliding), 12);
  EXPECT_EQ(oss.attention.sliding_window, 128);
  EXPECT_DOUBLE_EQ(oss.rope.magnitude, 1.3465735902799727);
  EXPECT_DOUBLE_EQ(oss.attention.softmax_scale, 0.125);
  EXPECT_FALSE(oss.rope.truncate);
  EXPECT_EQ(oss.bos_token, -1);

  const ModelSpec glm = MustParse(published::kGlm45Air);
  EXPECT_EQ(glm.rope.dims, 64);
  EXPECT_TRUE(glm.attention.qkv_bias);
  EXPECT_FALSE(glm.attention.output_bias);
  EXPECT_EQ(glm.attention.qk_norm, QkNorm::kNone);
  EXPECT_EQ(CountMoe(glm), 45);
  EXPECT_EQ(glm.eos_tokens, (std::vector<int32_t>{151329, 151336, 151338}));

  const ModelSpec mixtral = MustParse(published::kMixtral8x7b);
  EXPECT_EQ(mixtral.attention.head_dim, 128);
  EXPECT_EQ(mixtral.expert.width, 14336);
  EXPECT_EQ(mixtral.attention.sliding_window, 0);

  const ModelSpec olmoe = MustParse(published::kOlmoe);
  EXPECT_EQ(olmoe.norm_eps, 1e-5);
  EXPECT_EQ(olmoe.router.num_experts, 64);
  EXPECT_FALSE(olmoe.router.normalise);

  const ModelSpec qwen15 = MustParse(published::kQwen15Moe);
  EXPECT_EQ(qwen15.expert.shared_width, 5632);
  EXPECT_EQ(qwen15.router.num_experts, 60);
  EXPECT_EQ(qwen15.attention.sliding_window, 0);

  const ModelSpec mistral = MustParse(published::kMistral7b);
  EXPECT_EQ(mistral.attention.sliding_window, 4096);
  EXPECT_TRUE(mistral.layers[31].is_sliding);
}

TEST(Registry, Llama3DivisorsFollowTheFormula) {
  const ModelSpec spec = MustParse(published::kLlama31);
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(spec.rope.magnitude, 1.0);
  const auto divisors = RopeDivisors(spec.rope);
  ASSERT_EQ(divisors.size(), 64u);
  EXPECT_EQ(divisors.front(), 1.0f);
  EXPECT_EQ(divisors.back(), 8.0f);
  EXPECT_TRUE(std::ranges::is_sorted(divisors));
  // i = 30: wavelength 2 pi 500000^(60/128) = 2951.7, between 8192 / 4 and 8192 / 1.
  const double wavelength = 2 * 3.14159265358979 * std::pow(500000.0, 60.0 / 128);
  const double smooth = (8192 / wavelength - 1) / 3;
  EXPECT_NEAR(divisors[30], 1 / ((1 - smooth) / 8 + smooth), 1e-5);
}

// One key of a good config changed; the message must name file and key.
struct BadCase {
  const char* config;
  const char* key;
  const char* value;  // JSON; "" erases the key
  const char* expected;
};

TEST(Registry, BadConfigsSayWhatIsWrong) {
  using namespace published;
  const BadCase cases[] = {
      {kDeepSeekV3, "vocab_size", "", "key \"vocab_size\": expected an integer from 1"},
      {kDeepSeekV3, "vocab_size", "\"many\"", "found \"many\""},
      {kDeepSeekV3, "vocab_size", "129280.5", "found 129280.5"},
      {kDeepSeekV3, "hidden_size", "-7168", "key \"hidden_size\""},
      {kDeepSeekV3, "hidden_size", "99999999999999999999", "key \"hidden_size\""},
      {kDeepSeekV3, "hidden_size", "1048577", "from 1 to 1048576, found 1048577"},
      {kDeepSeekV3, "num_hidden_layers", "0", "key \"num_hidden_layers\""},
      {kDeepSeekV3, "num_hidden_layers", "1000000000", "key \"num_hidden_layers\""},
      {kDeepSeekV3, "num_attention_heads", "0", "key \"num_attention_heads\""},
      {kDeepSeekV3, "num_attention_heads", "1000000", "attention heads x head size"},
      {kDeepSeekV3, "kv_lora_rank", "", "key \"kv_lora_rank\""},
      {kDeepSeekV3, "n_group", "7", "a divisor of the 256 experts"},
      {kDeepSeekV3, "topk_group", "9", "at most n_group = 8"},
      {kDeepSeekV3, "num_experts_per_tok", "129", "chosen experts: expected from 1 to 128, found 129"},
      {kDeepSeekV3, "scoring_func", "\"softmax\"", "key \"scoring_func\": expected \"sigmoid\""},
      {kDeepSeekV3, "topk_method", "\"greedy\"", "key \"topk_method\""},
      {kDeepSeekV3, "attention_bias", "true", "key \"attention_bias\""},
      {kDeepSeekV3, "index_topk", "2048", "sparse attention is not supported"},
      {kDeepSeekV3, "first_k_dense_replace", "62", "key \"first_k_dense_replace\""},
      {kDeepSeekV3, "moe_layer_freq", "[1, 1]", "key \"moe_layer_freq\""},
      {kDeepSeekV3, "rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2}", "rope_scaling: key \"type\""},
      {kDeepSeekV3, "rope_scaling", "{\"rope_type\": \"longrope\"}", "key \"rope_type\""},
      {kDeepSeekV3, "rope_scaling", "{\"rope_type\": \"yarn\"}",
       "rope_scaling: key \"factor\": expected a number"},
      {kDeepSeekV3, "rope_scaling", "{\"rope_type\": \"yarn\", \"type\": \"linear\", \"factor\": 2}",
       "to agree"},
      {kDeepSeekV3, "rope_scaling", "7", "key \"rope_scaling\": expected an object, found 7"},
      {kDeepSeekV3, "rope_parameters", "{\"rope_type\": \"default\"}", "found both"},
      {kDeepSeekV3, "rope_theta", "0", "key \"rope_theta\""},
      {kDeepSeekV3, "rope_theta", "1", "rope theta: expected more than 1, found 1"},
      {kDeepSeekV3, "qk_rope_head_dim", "63", "rotary dimensions: expected an even number"},
      {kDeepSeekV3, "hidden_act", "\"gelu\"", "key \"hidden_act\": expected \"silu\", found \"gelu\""},
      {kDeepSeekV3, "eos_token_id", "129280", "key \"eos_token_id\""},
      {kDeepSeekV3, "eos_token_id", "[1, \"x\"]", "key \"eos_token_id\", item 1"},
      {kDeepSeekV3, "bos_token_id", "-1", "key \"bos_token_id\""},
      {kDeepSeekV3, "rms_norm_eps", "\"1e-6\"", "key \"rms_norm_eps\": expected a number"},
      {kDeepSeekV3, "quantization_config", "{\"quant_method\": \"gptq\", \"bits\": 4}",
       "quantization_config: key \"quant_method\": expected \"fp8\" (blocks of 128x128) or \"mxfp4\""},
      {kDeepSeekV3, "quantization_config", "{\"quant_method\": \"fp8\"}", "key \"weight_block_size\""},
      {kDeepSeekV3, "quantization_config", "{}", "key \"quant_method\""},
      {kDeepSeekV3, "model_type", "\"deepseek_v32\"", "found \"deepseek_v32\""},
      {kDeepSeekV3, "model_type", "", "found nothing"},
      {kDeepSeekV3, "model_type", "3", "key \"model_type\": expected a string"},
      {kDeepSeekV3, "n_shared_experts", "4096", "key \"n_shared_experts\""},
      {kDeepSeekV3, "n_routed_experts", "8192", "experts of all layers"},
      {kDeepSeekV2, "topk_method", "\"noaux_tc\"", "key \"topk_method\""},
      {kMixtral8x7b, "num_local_experts", "", "key \"num_local_experts\""},
      {kMixtral8x7b, "num_experts_per_tok", "9", "chosen experts: expected from 1 to 8, found 9"},
      {kMixtral8x7b, "num_key_value_heads", "5", "a divisor of num_attention_heads = 32"},
      {kMixtral8x7b, "hidden_size", "4097", "a divisor of hidden_size = 4097"},
      {kMixtral8x7b, "sliding_window", "-1", "key \"sliding_window\""},
      {kQwen3Moe, "num_local_experts", "64", "the same as num_experts = 128"},
      {kQwen3Moe, "mlp_only_layers", "[48]", "key \"mlp_only_layers\", item 0"},
      {kQwen3Moe, "decoder_sparse_step", "0", "key \"decoder_sparse_step\""},
      {kQwen3Moe, "head_dim", "127", "rotary dimensions"},
      {kQwen3Moe, "partial_rotary_factor", "0.5", "key \"partial_rotary_factor\""},
      {kQwen3Moe, "tie_word_embeddings", "\"no\"", "key \"tie_word_embeddings\": expected true or false"},
      {kGptOss20b, "sliding_window", "null", "key \"sliding_window\": expected a positive number"},
      {kGptOss20b, "layer_types", "[\"full_attention\"]", "one item for each of 24 layers"},
      {kGptOss20b, "experts_per_token", "5", "the same as num_experts_per_tok = 4"},
      {kOlmoe, "clip_qkv", "8.0", "key \"clip_qkv\""},
      {kLlama31, "mlp_bias", "true", "key \"mlp_bias\""},
      {kLlama31, "intermediate_size", "", "key \"intermediate_size\""},
      {kQwen15Moe, "shared_expert_intermediate_size", "", "key \"shared_expert_intermediate_size\""},
  };
  for (const BadCase& c : cases) {
    SCOPED_TRACE(std::string(c.key) + " = " + c.value);
    Json json = Json::parse(c.config);
    json.erase(c.key);
    if (*c.value != '\0') json[c.key] = Json::parse(c.value);
    const auto spec = SpecFromConfig(json.dump(), "some/config.json");
    ASSERT_FALSE(spec.ok());
    EXPECT_EQ(spec.message().rfind("some/config.json: ", 0), 0u) << spec.message();
    EXPECT_NE(spec.message().find(c.expected), std::string::npos) << spec.message();
    EXPECT_EQ(spec.message().find('\n'), std::string::npos) << spec.message();
  }
  for (const char* text :
       {"", "[]", "{", "null", "\"x\"", "{\"model_type\": \"llama\", \"model_type\": \"llama\"}"}) {
    EXPECT_FALSE(SpecFromConfig(text, "config.json").ok()) << text;
  }
}

ModelSpec Changed(const char* config, const std::function<void(Json&)>& change) {
  Json json = Json::parse(config);
  change(json);
  return MustParse(json.dump());
}

TEST(Registry, MscaleRules) {
  const double m1 = 0.1 * std::log(40.0) + 1, plain = 1 / std::sqrt(192.0);
  const auto with = [&](double mscale, double all_dim) {
    return Changed(published::kDeepSeekV3, [&](Json& j) {
      j["rope_scaling"]["mscale"] = mscale;
      j["rope_scaling"]["mscale_all_dim"] = all_dim;
    });
  };
  ModelSpec spec = with(0.0, 0.0);
  EXPECT_DOUBLE_EQ(spec.rope.magnitude, m1);
  EXPECT_DOUBLE_EQ(spec.attention.softmax_scale, plain);
  spec = with(0.0, 1.0);  // mscale absent: cos and sin get m(f, 1) all the same
  EXPECT_DOUBLE_EQ(spec.rope.magnitude, m1);
  EXPECT_DOUBLE_EQ(spec.attention.softmax_scale, plain * m1 * m1);
  spec = with(1.0, 0.0);
  EXPECT_DOUBLE_EQ(spec.rope.magnitude, m1);
  EXPECT_DOUBLE_EQ(spec.attention.softmax_scale, plain);
  spec = with(1.0, 0.5);
  const double half = 0.05 * std::log(40.0) + 1;
  EXPECT_DOUBLE_EQ(spec.rope.magnitude, m1 / half);
  EXPECT_DOUBLE_EQ(spec.attention.softmax_scale, plain * half * half);
}

TEST(Registry, LayerRules) {
  ModelSpec spec = Changed(published::kQwen3Moe, [](Json& j) {
    j["decoder_sparse_step"] = 2;
    j["mlp_only_layers"] = {3};
  });
  EXPECT_EQ(CountMoe(spec), 23);
  EXPECT_TRUE(spec.layers[1].is_moe);
  EXPECT_FALSE(spec.layers[3].is_moe);
  EXPECT_EQ(spec.dense_width, 6144);

  spec = Changed(published::kDeepSeekV2, [](Json& j) { j["moe_layer_freq"] = 2; });
  EXPECT_FALSE(spec.layers[1].is_moe);
  EXPECT_TRUE(spec.layers[2].is_moe);

  spec = Changed(published::kQwen15Moe, [](Json& j) { j["use_sliding_window"] = true; });
  EXPECT_EQ(spec.attention.sliding_window, 32768);
  EXPECT_FALSE(spec.layers[20].is_sliding);
  EXPECT_TRUE(spec.layers[21].is_sliding);

  spec = Changed(published::kGptOss20b, [](Json& j) { j.erase("layer_types"); });
  EXPECT_EQ(Dump(spec), Dump(MustParse(published::kGptOss20b)));

  spec = Changed(published::kDeepSeekV3, [](Json& j) { j["topk_group"] = 8; });  // all groups kept: no groups
  EXPECT_EQ(spec.router.num_groups, 1);

  spec = Changed(published::kDeepSeekV2, [](Json& j) { j["norm_topk_prob"] = true; });
  EXPECT_TRUE(spec.router.normalise);
  EXPECT_EQ(spec.router.scale, 1.0);

  spec = Changed(published::kLlama31, [](Json& j) {
    j["attention_bias"] = true;
    j["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
    j["eos_token_id"] = nullptr;
  });
  EXPECT_TRUE(spec.attention.qkv_bias && spec.attention.output_bias);
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kLinear);
  EXPECT_TRUE(spec.eos_tokens.empty());
}

TEST(Registry, ValidateSpecBoundsEverything) {
  const ModelSpec good = MustParse(published::kDeepSeekV3);
  const std::function<void(ModelSpec&)> breakers[] = {
      [](ModelSpec& s) { s.architecture = "unheard_of"; },
      [](ModelSpec& s) { s.vocab_size = 0; },
      [](ModelSpec& s) { s.vocab_size = int64_t{1} << 60; },
      [](ModelSpec& s) { s.hidden = -1; },
      [](ModelSpec& s) { s.layers.clear(); },
      [](ModelSpec& s) { s.num_mtp_layers = 1000; },
      [](ModelSpec& s) { s.norm_eps = std::nan(""); },
      [](ModelSpec& s) { s.attention.num_heads = 0; },
      [](ModelSpec& s) { s.attention.nope_dim = 1; },
      [](ModelSpec& s) { s.attention.softmax_scale = INFINITY; },
      [](ModelSpec& s) { s.rope.dims = 65; },
      [](ModelSpec& s) { s.rope.dims = 32; },
      [](ModelSpec& s) { s.rope.theta = 1; },
      [](ModelSpec& s) { s.rope.factor = 0; },
      [](ModelSpec& s) { s.rope.original_context = 0; },
      [](ModelSpec& s) { s.rope.divisors = {1.0f}; },
      [](ModelSpec& s) { s.router.num_experts = 0; },
      [](ModelSpec& s) { s.router.top_k = 0; },
      [](ModelSpec& s) { s.router.num_groups = 0; },
      [](ModelSpec& s) { s.router.num_groups = 3; },
      [](ModelSpec& s) { s.expert.width = 0; },
      [](ModelSpec& s) { s.dense_width = 0; },
      [](ModelSpec& s) { s.layers[0].is_sliding = true; },
      [](ModelSpec& s) { s.eos_tokens = {-1}; },
      [](ModelSpec& s) { s.bos_token = 1 << 30; },
  };
  ASSERT_TRUE(ValidateSpec(good).ok());
  size_t index = 0;
  for (const auto& change : breakers) {
    ModelSpec spec = good;
    change(spec);
    EXPECT_FALSE(ValidateSpec(spec).ok()) << "breaker " << index;
    ++index;
  }
}

// Every tensor that a conformance checkpoint stores is the Hugging Face name of some canonical one.
TEST(Registry, NamesCoverTheConformanceCheckpoints) {
  if (!HasSharedData()) GTEST_SKIP() << "no shared data";
  for (const ConformanceSet& set : kSets) {
    SCOPED_TRACE(set.folder);
    const ModelSpec spec = MustParse(ConformanceConfig(set.folder));
    const Architecture* architecture = FindArchitecture(spec.architecture);
    ASSERT_NE(architecture, nullptr);
    std::set<std::string> known;
    for (const TensorNames& table : architecture->names) {
      for (const TensorName& entry : table) {
        for (int l = 0; l < spec.num_layers(); ++l) {
          for (int e = 0; e < std::max(1, spec.router.num_experts); ++e) {
            known.insert(architecture->HfName(entry.canonical, l, e));
          }
        }
      }
    }
    // 8 bytes of header length, then the header, a JSON object by tensor name.
    const auto file = MappedFile::Open(std::string(DEEPSHOCK_SHARED_DATA) + "/conformance/" + set.folder +
                                       "/model.safetensors");
    ASSERT_TRUE(file.ok()) << file.message();
    const auto bytes = (*file.value()).bytes();
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    const Json names = Json::parse(std::string(reinterpret_cast<const char*>(bytes.data()) + 8, header));
    for (const auto& [name, info] : names.items()) {
      if (name == "__metadata__") continue;
      std::string base = name;
      if (base.ends_with("_proj_bias")) base.resize(base.size() - 5);  // gpt-oss: base names are in the table
      EXPECT_TRUE(known.contains(base)) << name;
    }
  }
}

TEST(Registry, NamesOfFamilies) {
  const Architecture* v3 = FindByModelType("kimi_k2");
  ASSERT_NE(v3, nullptr);
  EXPECT_EQ(v3->name, "deepseek_v3");
  EXPECT_EQ(v3->HfName("ffn_up_exps.weight", 3, 255), "model.layers.3.mlp.experts.255.up_proj.weight");
  EXPECT_EQ(v3->HfName("nextn.shared_head_norm.weight", 61), "model.layers.61.shared_head.norm.weight");
  EXPECT_EQ(v3->HfName("exp_probs_b.bias", 4), "model.layers.4.mlp.gate.e_score_correction_bias");
  EXPECT_EQ(v3->HfName("attn_sinks.weight", 4), "");
  EXPECT_EQ(v3->GgufName("ffn_norm.weight", 2), "blk.2.ffn_norm.weight");
  EXPECT_EQ(v3->GgufName("output.weight"), "output.weight");
  EXPECT_EQ(FindByModelType("glm4_moe")->GgufName("ffn_norm.weight", 2), "blk.2.post_attention_norm.weight");
  EXPECT_EQ(FindByModelType("gpt_oss")->GgufName("ffn_norm.weight", 2), "blk.2.post_attention_norm.weight");
  EXPECT_EQ(FindByModelType("gpt_oss")->HfName("ffn_gate_up_exps", 2),
            "model.layers.2.mlp.experts.gate_up_proj");
  EXPECT_EQ(FindByModelType("mixtral")->HfName("ffn_down_exps.weight", 1, 7),
            "model.layers.1.block_sparse_moe.experts.7.w2.weight");
  EXPECT_EQ(FindByModelType("qwen2_moe")->HfName("ffn_gate_inp_shexp.weight", 1),
            "model.layers.1.mlp.shared_expert_gate.weight");
  EXPECT_EQ(FindByModelType("gpt2"), nullptr);
  ModelSpec spec;
  EXPECT_TRUE(MayIgnoreHfTensor(spec, "model.layers.0.self_attn.rotary_emb.inv_freq"));
  EXPECT_FALSE(MayIgnoreHfTensor(spec, "lm_head.weight"));
  spec.tied_head = true;
  EXPECT_TRUE(MayIgnoreHfTensor(spec, "lm_head.weight"));
  EXPECT_FALSE(MayIgnoreHfTensor(spec, "model.norm.weight"));
}

}  // namespace
}  // namespace deepshock
