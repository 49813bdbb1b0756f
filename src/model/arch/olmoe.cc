// SPDX-License-Identifier: Apache-2.0
// OLMoE (arXiv 2409.02060): softmax routing; q and k normed over the whole projection.
#include "model/arch/families.h"
#include "model/arch/gguf_parts.h"
#include "model/arch/hf_parts.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "olmoe";
constexpr GgufTraits kTraits{.arch = "olmoe", .experts_use_dense_width = true, .needs_output = true};

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-5, &spec));
  DS_RETURN_IF_ERROR(ReadGroupedAttention(config, &spec));
  DS_RETURN_IF_ERROR(ReadAttentionBias(config, "attention_bias", false, true, &spec.attention));
  if (config.Has("clip_qkv")) return config.Expected("clip_qkv", "null (clipping is not supported)");
  spec.attention.qk_norm = QkNorm::kWhole;
  DS_RETURN_IF_ERROR(ReadRope(config, {}, spec.attention.head_dim, &spec));
  for (LayerSpec& layer : spec.layers) layer.is_moe = true;
  DS_ASSIGN(spec.router.num_experts, ReadExpertCount(config, "num_experts", "num_local_experts"));
  DS_ASSIGN(spec.router.top_k, config.Size("num_experts_per_tok"));
  DS_ASSIGN(spec.router.normalise, config.BoolOr("norm_topk_prob", false));
  DS_ASSIGN(spec.expert.width, config.Size("intermediate_size"));
  return spec;
}

Result<ModelSpec> FromGguf(const GgufFile& file) {
  ModelSpec spec;
  const GgufKeys keys(file, kTraits.arch);
  DS_RETURN_IF_ERROR(ReadGgufModel(keys, kName, &spec));
  DS_RETURN_IF_ERROR(ReadGgufGroupedAttention(keys, &spec));
  if (keys.Has("attention.clamp_kqv")) {
    return keys.Expected("attention.clamp_kqv", "nothing (clipping is not supported)", "the key");
  }
  spec.attention.qk_norm = QkNorm::kWhole;
  DS_RETURN_IF_ERROR(ReadGgufRope(keys, kTraits, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadGgufLayers(keys, kTraits, &spec));
  DS_RETURN_IF_ERROR(CheckGating(keys, kGatingSoftmax, kGatingSoftmax));
  DS_RETURN_IF_ERROR(ReadGgufExperts(keys, kTraits, &spec));
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) { return WriteGrouped(kTraits, spec, writer); }

}  // namespace

Architecture OlmoeArchitecture() {
  return {.name = kName,
          .model_types = {"olmoe"},
          .gguf = kTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kGroupedNames, kExpertNames},
          .gguf_names = {}};
}

}  // namespace deepshock
