// SPDX-License-Identifier: Apache-2.0
// Qwen3-MoE (arXiv 2505.09388): softmax routing, renormalised; q and k normed per head; no shared expert.
#include "model/arch/families.h"
#include "model/arch/gguf_parts.h"
#include "model/arch/hf_parts.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "qwen3_moe";
// llama.cpp renormalises this family whatever the file says.
constexpr GgufTraits kTraits{.arch = "qwen3moe", .normalise = true};

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-6, &spec));
  DS_RETURN_IF_ERROR(ReadGroupedAttention(config, &spec));
  DS_RETURN_IF_ERROR(ReadAttentionBias(config, "attention_bias", false, true, &spec.attention));
  spec.attention.qk_norm = QkNorm::kPerHead;
  DS_RETURN_IF_ERROR(ReadRope(config, {}, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadWindow(config, WindowRule::kQwenAll, &spec));
  DS_RETURN_IF_ERROR(ReadQwenMoeLayers(config, &spec));
  DS_ASSIGN(spec.router.num_experts, ReadExpertCount(config, "num_experts", "num_local_experts"));
  DS_ASSIGN(spec.router.top_k, config.Size("num_experts_per_tok"));
  DS_ASSIGN(spec.router.normalise, config.BoolOr("norm_topk_prob", false));
  DS_ASSIGN(spec.expert.width, config.Size("moe_intermediate_size"));
  return spec;
}

Result<ModelSpec> FromGguf(const GgufFile& file) {
  ModelSpec spec;
  const GgufKeys keys(file, kTraits.arch);
  DS_RETURN_IF_ERROR(ReadGgufModel(keys, kName, &spec));
  DS_RETURN_IF_ERROR(ReadGgufGroupedAttention(keys, &spec));
  spec.attention.qk_norm = QkNorm::kPerHead;
  DS_RETURN_IF_ERROR(ReadGgufRope(keys, kTraits, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadGgufWindow(keys, kTraits, &spec));
  DS_RETURN_IF_ERROR(ReadGgufLayers(keys, kTraits, &spec));
  DS_RETURN_IF_ERROR(CheckGating(keys, kGatingSoftmax, kGatingSoftmax));
  DS_RETURN_IF_ERROR(ReadGgufExperts(keys, kTraits, &spec));
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) { return WriteGrouped(kTraits, spec, writer); }

}  // namespace

Architecture Qwen3MoeArchitecture() {
  return {.name = kName,
          .model_types = {"qwen3_moe"},
          .gguf = kTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kGroupedNames, kDenseMlpNames, kExpertNames},
          .gguf_names = {}};
}

}  // namespace deepshock
