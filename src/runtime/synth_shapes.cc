// SPDX-License-Identifier: Apache-2.0
#include "model/arch/published_configs.h"
#include "runtime/synth.h"

namespace deepshock {
namespace {

// Not published: every part of DeepSeek-V3 (low-rank queries, sigmoid routing in groups, an MTP layer), as
// small as K-quants allow.
constexpr const char* kTiny = R"({
  "model_type": "deepseek_v3", "bos_token_id": 4094, "eos_token_id": 4095, "first_k_dense_replace": 1,
  "hidden_act": "silu", "hidden_size": 256, "intermediate_size": 512, "kv_lora_rank": 64,
  "max_position_embeddings": 4096, "moe_intermediate_size": 256, "n_group": 2, "n_routed_experts": 16,
  "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 4, "num_experts_per_tok": 4,
  "num_hidden_layers": 4, "num_key_value_heads": 4, "num_nextn_predict_layers": 1, "q_lora_rank": 128,
  "qk_nope_head_dim": 32, "qk_rope_head_dim": 32, "rms_norm_eps": 1e-06, "rope_theta": 10000,
  "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "tie_word_embeddings": false, "topk_group": 1,
  "topk_method": "noaux_tc", "v_head_dim": 32, "vocab_size": 4096})";

// Not published: DeepSeek-V3's parts at the size of V2-Lite, so that MTP can be measured where 16 GB fit.
constexpr const char* kDeepSeekV3Mini = R"({
  "model_type": "deepseek_v3", "bos_token_id": 0, "eos_token_id": 1, "first_k_dense_replace": 1,
  "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 11264, "kv_lora_rank": 512,
  "max_position_embeddings": 163840, "moe_intermediate_size": 1408, "n_group": 8, "n_routed_experts": 64,
  "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 16, "num_experts_per_tok": 8,
  "num_hidden_layers": 24, "num_key_value_heads": 16, "num_nextn_predict_layers": 1, "q_lora_rank": 768,
  "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_scaling": {"beta_fast": 32,
  "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings":
  4096, "type": "yarn"}, "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
  "tie_word_embeddings": false, "topk_group": 4, "topk_method": "noaux_tc", "v_head_dim": 128,
  "vocab_size": 129280})";

constexpr SynthShape kShapes[] = {
    {"tiny", "17 M parameters: DeepSeek-V3's parts for tests; its own shape", kTiny},
    {"olmoe-1b-7b", "6.9 B parameters, 1.3 B active: 64 experts of 1024, 8 used", published::kOlmoe},
    {"qwen1.5-moe-a2.7b", "14.3 B, 2.7 B active: 60 experts, 4 used, gated shared", published::kQwen15Moe},
    {"deepseek-v2-lite", "15.7 B, 2.7 B active: MLA, 64 experts, 6 used, 2 shared",
     published::kDeepSeekV2Lite},
    {"deepseek-v3-mini", "14.7 B: DeepSeek-V3's parts and MTP at V2-Lite's size; its own shape",
     kDeepSeekV3Mini},
    {"gpt-oss-20b", "20.9 B, 3.6 B active: sinks, sliding windows, 32 experts, 4 used",
     published::kGptOss20b},
    {"qwen3-30b-a3b", "30.5 B, 3.3 B active: 128 experts of 768, 8 used", published::kQwen3Moe},
    {"mixtral-8x7b", "46.7 B, 12.9 B active: 8 experts of 14336, 2 used", published::kMixtral8x7b},
    {"glm-4.5-air", "110 B, 12 B active: 128 experts, 8 used, MTP", published::kGlm45Air},
    {"deepseek-v3", "685 B, 37 B active: MLA, 256 experts, 8 used, MTP", published::kDeepSeekV3},
};

}  // namespace

std::span<const SynthShape> SynthShapes() { return kShapes; }

}  // namespace deepshock
