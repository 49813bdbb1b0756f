// SPDX-License-Identifier: Apache-2.0
// Hugging Face tensor names shared by families. Canonical names are llama.cpp's (gguf-py/gguf/constants.py,
// TENSOR_NAMES) without "blk.N."; `{l}` is the layer, `{e}` the expert.
#pragma once

#include "model/registry.h"

namespace deepshock {

inline constexpr TensorName kModelNames[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
    {"attn_norm.weight", "model.layers.{l}.input_layernorm.weight"},
    {"attn_output.weight", "model.layers.{l}.self_attn.o_proj.weight"},
    {"attn_output.bias", "model.layers.{l}.self_attn.o_proj.bias"},
    {"ffn_norm.weight", "model.layers.{l}.post_attention_layernorm.weight"},
    {"attn_q.weight", "model.layers.{l}.self_attn.q_proj.weight"},
};

inline constexpr TensorName kGroupedNames[] = {
    {"attn_k.weight", "model.layers.{l}.self_attn.k_proj.weight"},
    {"attn_v.weight", "model.layers.{l}.self_attn.v_proj.weight"},
    {"attn_q.bias", "model.layers.{l}.self_attn.q_proj.bias"},
    {"attn_k.bias", "model.layers.{l}.self_attn.k_proj.bias"},
    {"attn_v.bias", "model.layers.{l}.self_attn.v_proj.bias"},
    {"attn_q_norm.weight", "model.layers.{l}.self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "model.layers.{l}.self_attn.k_norm.weight"},
};

inline constexpr TensorName kLatentNames[] = {
    {"attn_q_a.weight", "model.layers.{l}.self_attn.q_a_proj.weight"},
    {"attn_q_a_norm.weight", "model.layers.{l}.self_attn.q_a_layernorm.weight"},
    {"attn_q_b.weight", "model.layers.{l}.self_attn.q_b_proj.weight"},
    {"attn_kv_a_mqa.weight", "model.layers.{l}.self_attn.kv_a_proj_with_mqa.weight"},
    {"attn_kv_a_norm.weight", "model.layers.{l}.self_attn.kv_a_layernorm.weight"},
    {"attn_kv_b.weight", "model.layers.{l}.self_attn.kv_b_proj.weight"},
};

inline constexpr TensorName kDenseMlpNames[] = {
    {"ffn_gate.weight", "model.layers.{l}.mlp.gate_proj.weight"},
    {"ffn_up.weight", "model.layers.{l}.mlp.up_proj.weight"},
    {"ffn_down.weight", "model.layers.{l}.mlp.down_proj.weight"},
};

inline constexpr TensorName kExpertNames[] = {
    {"ffn_gate_inp.weight", "model.layers.{l}.mlp.gate.weight"},
    {"ffn_gate_exps.weight", "model.layers.{l}.mlp.experts.{e}.gate_proj.weight"},
    {"ffn_up_exps.weight", "model.layers.{l}.mlp.experts.{e}.up_proj.weight"},
    {"ffn_down_exps.weight", "model.layers.{l}.mlp.experts.{e}.down_proj.weight"},
};

// DeepSeek and GLM-4.5.
inline constexpr TensorName kSharedExpertNames[] = {
    {"ffn_gate_shexp.weight", "model.layers.{l}.mlp.shared_experts.gate_proj.weight"},
    {"ffn_up_shexp.weight", "model.layers.{l}.mlp.shared_experts.up_proj.weight"},
    {"ffn_down_shexp.weight", "model.layers.{l}.mlp.shared_experts.down_proj.weight"},
};

inline constexpr TensorName kSelectionBiasNames[] = {
    {"exp_probs_b.bias", "model.layers.{l}.mlp.gate.e_score_correction_bias"},
};

// {l} of an MTP layer counts on from the main layers, in GGUF as well.
inline constexpr TensorName kMtpNames[] = {
    {"nextn.eh_proj.weight", "model.layers.{l}.eh_proj.weight"},
    {"nextn.enorm.weight", "model.layers.{l}.enorm.weight"},
    {"nextn.hnorm.weight", "model.layers.{l}.hnorm.weight"},
    {"nextn.embed_tokens.weight", "model.layers.{l}.embed_tokens.weight"},
    {"nextn.shared_head_norm.weight", "model.layers.{l}.shared_head.norm.weight"},
    {"nextn.shared_head_head.weight", "model.layers.{l}.shared_head.head.weight"},
};

}  // namespace deepshock
