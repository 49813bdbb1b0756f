// SPDX-License-Identifier: Apache-2.0
// Qwen1.5-MoE and Qwen2-MoE: softmax routing without renormalisation, one shared expert behind a sigmoid
// gate.
#include "model/arch/families.h"
#include "model/arch/gguf_parts.h"
#include "model/arch/hf_parts.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "qwen2_moe";
constexpr GgufTraits kTraits{.arch = "qwen2moe", .needs_output = true};

constexpr TensorName kSharedNames[] = {
    {"ffn_gate_shexp.weight", "model.layers.{l}.mlp.shared_expert.gate_proj.weight"},
    {"ffn_up_shexp.weight", "model.layers.{l}.mlp.shared_expert.up_proj.weight"},
    {"ffn_down_shexp.weight", "model.layers.{l}.mlp.shared_expert.down_proj.weight"},
    {"ffn_gate_inp_shexp.weight", "model.layers.{l}.mlp.shared_expert_gate.weight"},
};

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-6, &spec));
  DS_RETURN_IF_ERROR(ReadGroupedAttention(config, &spec));
  DS_RETURN_IF_ERROR(ReadAttentionBias(config, "qkv_bias", true, false, &spec.attention));
  DS_RETURN_IF_ERROR(ReadRope(config, {}, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadWindow(config, WindowRule::kQwen, &spec));
  DS_RETURN_IF_ERROR(ReadQwenMoeLayers(config, &spec));
  DS_ASSIGN(spec.router.num_experts, ReadExpertCount(config, "num_experts", "num_local_experts"));
  DS_ASSIGN(spec.router.top_k, config.Size("num_experts_per_tok"));
  DS_ASSIGN(spec.router.normalise, config.BoolOr("norm_topk_prob", false));
  DS_ASSIGN(spec.expert.width, config.Size("moe_intermediate_size"));
  DS_ASSIGN(spec.expert.shared_width, config.Size("shared_expert_intermediate_size"));
  spec.expert.num_shared = 1;
  spec.expert.shared_gate = true;
  return spec;
}

Result<ModelSpec> FromGguf(const GgufFile& file) {
  ModelSpec spec;
  const GgufKeys keys(file, kTraits.arch);
  DS_RETURN_IF_ERROR(ReadGgufModel(keys, kName, &spec));
  DS_RETURN_IF_ERROR(ReadGgufGroupedAttention(keys, &spec));
  DS_RETURN_IF_ERROR(ReadGgufRope(keys, kTraits, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadGgufWindow(keys, kTraits, &spec));
  DS_RETURN_IF_ERROR(ReadGgufLayers(keys, kTraits, &spec));
  DS_RETURN_IF_ERROR(CheckGating(keys, kGatingSoftmax, kGatingSoftmax));
  DS_RETURN_IF_ERROR(ReadGgufExperts(keys, kTraits, &spec));
  DS_ASSIGN(spec.expert.shared_width, keys.Size("expert_shared_feed_forward_length"));
  spec.expert.num_shared = 1;
  spec.expert.shared_gate = true;
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) {
  DS_RETURN_IF_ERROR(WriteGrouped(kTraits, spec, writer));
  WriteU32(kTraits, "expert_shared_feed_forward_length", spec.expert.shared_width, writer);
  return {};
}

}  // namespace

Architecture Qwen2MoeArchitecture() {
  return {.name = kName,
          .model_types = {"qwen2_moe"},
          .gguf = kTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kGroupedNames, kDenseMlpNames, kExpertNames, kSharedNames},
          .gguf_names = {}};
}

}  // namespace deepshock
