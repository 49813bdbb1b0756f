// SPDX-License-Identifier: Apache-2.0
// For tests: a spec as text, every field with all its digits, so that two specs can be compared and their
// difference read.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

#include "model/spec.h"

namespace deepshock {

inline std::string Dump(const ModelSpec& s) {
  std::string out;
  const auto put = [&](const char* name, const auto& value) { out += fmt::format("{} = {}\n", name, value); };
  const auto put_enum = [&](const char* name, auto value) { put(name, static_cast<int>(value)); };
  put("architecture", s.architecture);
  put("name", s.name);
  put("vocab_size", s.vocab_size);
  put("hidden", s.hidden);
  put("dense_width", s.dense_width);
  put("num_mtp_layers", s.num_mtp_layers);
  put("context_length", s.context_length);
  put("norm_eps", s.norm_eps);
  put("tied_head", s.tied_head);
  put("eos_tokens", s.eos_tokens);
  put("bos_token", s.bos_token);
  const RopeSpec& r = s.rope;
  put_enum("rope.layout", r.layout);
  put("rope.dims", r.dims);
  put("rope.theta", r.theta);
  put_enum("rope.scaling", r.scaling);
  put("rope.factor", r.factor);
  put("rope.original_context", r.original_context);
  put("rope.beta_fast", r.beta_fast);
  put("rope.beta_slow", r.beta_slow);
  put("rope.truncate", r.truncate);
  put("rope.magnitude", r.magnitude);
  put("rope.low_freq_factor", r.low_freq_factor);
  put("rope.high_freq_factor", r.high_freq_factor);
  put("rope.divisors", r.divisors);
  const AttentionSpec& a = s.attention;
  put_enum("attention.kind", a.kind);
  put("attention.num_heads", a.num_heads);
  put("attention.num_kv_heads", a.num_kv_heads);
  put("attention.head_dim", a.head_dim);
  put("attention.v_head_dim", a.v_head_dim);
  put_enum("attention.qk_norm", a.qk_norm);
  put("attention.qkv_bias", a.qkv_bias);
  put("attention.output_bias", a.output_bias);
  put("attention.sinks", a.sinks);
  put("attention.sliding_window", a.sliding_window);
  put("attention.softmax_scale", a.softmax_scale);
  put("attention.q_lora_rank", a.q_lora_rank);
  put("attention.kv_lora_rank", a.kv_lora_rank);
  put("attention.nope_dim", a.nope_dim);
  put("attention.rope_dim", a.rope_dim);
  put("attention.latent_norm_eps", a.latent_norm_eps);
  const RouterSpec& q = s.router;
  put("router.num_experts", q.num_experts);
  put("router.top_k", q.top_k);
  put_enum("router.score", q.score);
  put("router.has_logit_bias", q.has_logit_bias);
  put("router.has_selection_bias", q.has_selection_bias);
  put("router.num_groups", q.num_groups);
  put("router.top_groups", q.top_groups);
  put_enum("router.group_score", q.group_score);
  put("router.normalise", q.normalise);
  put("router.normalise_eps", q.normalise_eps);
  put("router.scale", q.scale);
  const ExpertSpec& e = s.expert;
  put("expert.width", e.width);
  put("expert.num_shared", e.num_shared);
  put("expert.shared_width", e.shared_width);
  put("expert.shared_gate", e.shared_gate);
  put("expert.bias", e.bias);
  put_enum("expert.activation", e.activation);
  put("expert.clamp_limit", e.clamp_limit);
  put("expert.sigmoid_scale", e.sigmoid_scale);
  for (const LayerSpec& layer : s.layers) put("layer", fmt::format("{} {}", layer.is_moe, layer.is_sliding));
  put("mtp_layer", fmt::format("{} {}", s.mtp_layer.is_moe, s.mtp_layer.is_sliding));
  return out;
}

}  // namespace deepshock
