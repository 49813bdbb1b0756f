// SPDX-License-Identifier: Apache-2.0
#include "model/arch/deepseek_parts.h"

namespace deepshock {
namespace {

// Both of llama.cpp's forms: with key_length_mla, key_length is the latent row's; before that (files with
// attn_kv_b) it was an expanded head's.
Status ReadGgufLatent(const GgufKeys& keys, ModelSpec* spec) {
  AttentionSpec& a = spec->attention;
  a.kind = AttentionKind::kLatent;
  DS_ASSIGN(a.num_heads, keys.Size("attention.head_count"));
  const bool mla_form = keys.Has("attention.key_length_mla");
  DS_ASSIGN(a.head_dim, keys.Size(mla_form ? "attention.key_length_mla" : "attention.key_length"));
  DS_ASSIGN(a.v_head_dim, keys.Size(mla_form ? "attention.value_length_mla" : "attention.value_length"));
  DS_ASSIGN(a.rope_dim, keys.Size("rope.dimension_count"));
  if (a.rope_dim >= a.head_dim) {
    return keys.Expected("rope.dimension_count", fmt::format("less than the key length {}", a.head_dim),
                         fmt::format("{}", a.rope_dim));
  }
  a.nope_dim = a.head_dim - a.rope_dim;
  DS_ASSIGN(const int64_t q_rank, keys.IntOr("attention.q_lora_rank", 0, 0, kMaxSize));
  a.q_lora_rank = static_cast<int>(q_rank);
  DS_ASSIGN(a.kv_lora_rank, keys.Size("attention.kv_lora_rank"));
  a.softmax_scale = PlainSoftmaxScale(a.head_dim);
  return {};
}

}  // namespace

Status ReadLatentAttention(const Config& config, ModelSpec* spec) {
  AttentionSpec& a = spec->attention;
  a.kind = AttentionKind::kLatent;
  DS_ASSIGN(a.num_heads, config.Size("num_attention_heads"));
  DS_ASSIGN(a.kv_lora_rank, config.Size("kv_lora_rank"));
  // null, or no key: q_proj is one matrix.
  DS_ASSIGN(a.q_lora_rank, config.SizeOr("q_lora_rank", 0));
  DS_ASSIGN(a.nope_dim, config.Size("qk_nope_head_dim"));
  DS_ASSIGN(a.rope_dim, config.Size("qk_rope_head_dim"));
  DS_ASSIGN(a.v_head_dim, config.Size("v_head_dim"));
  a.head_dim = a.nope_dim + a.rope_dim;
  DS_RETURN_IF_ERROR(config.RequireFalse("attention_bias"));
  // V3.2's sparse attention; its own model_type is refused already.
  if (config.Has("index_topk"))
    return config.Expected("index_topk", "nothing (sparse attention is not supported)");
  spec->rope.layout = RopeLayout::kInterleaved;
  DS_ASSIGN(const bool interleaved, config.BoolOr("rope_interleave", true));
  if (!interleaved) return config.Expected("rope_interleave", "true");
  double mscale_all_dim = 0;
  DS_RETURN_IF_ERROR(ReadRope(config, {}, a.rope_dim, spec, &mscale_all_dim));
  const double m = YarnMagnitude(spec->rope.factor, mscale_all_dim);
  a.softmax_scale = PlainSoftmaxScale(a.head_dim) * (m * m);
  return {};
}

Status ReadGgufDeepSeek(const GgufFile& file, std::string_view architecture, ModelSpec* spec) {
  const GgufKeys keys(file, kDeepSeekTraits.arch);
  DS_RETURN_IF_ERROR(ReadGgufModel(keys, architecture, spec));
  DS_RETURN_IF_ERROR(ReadGgufLatent(keys, spec));
  DS_RETURN_IF_ERROR(ReadGgufRope(keys, kDeepSeekTraits, spec->attention.rope_dim, spec));
  DS_RETURN_IF_ERROR(ReadGgufLayers(keys, kDeepSeekTraits, spec));
  DS_RETURN_IF_ERROR(ReadGgufExperts(keys, kDeepSeekTraits, spec));
  DS_ASSIGN(const int64_t num_shared, keys.IntOr("expert_shared_count", 0, 0, kMaxSize / spec->expert.width));
  spec->expert.num_shared = static_cast<int>(num_shared);
  spec->expert.shared_width = spec->expert.num_shared * spec->expert.width;
  return {};
}

}  // namespace deepshock
