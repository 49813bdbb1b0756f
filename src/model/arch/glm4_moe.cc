// SPDX-License-Identifier: Apache-2.0
// GLM-4.5, GLM-4.5-Air, GLM-4.6 (arXiv 2508.06471): grouped-query attention with partial rope, DeepSeek-V3's
// routing, MTP layers.
#include "model/arch/families.h"
#include "model/arch/gguf_parts.h"
#include "model/arch/hf_parts.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "glm4_moe";
constexpr GgufTraits kTraits{.arch = "glm4moe", .leading_dense = true};
constexpr TensorName kGgufNames[] = {{"ffn_norm.weight", "post_attention_norm.weight"}};

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-5, &spec));
  DS_RETURN_IF_ERROR(ReadGroupedAttention(config, &spec));
  DS_RETURN_IF_ERROR(ReadAttentionBias(config, "attention_bias", false, false, &spec.attention));
  DS_ASSIGN(const bool qk_norm, config.BoolOr("use_qk_norm", false));
  spec.attention.qk_norm = qk_norm ? QkNorm::kPerHead : QkNorm::kNone;
  DS_RETURN_IF_ERROR(
      ReadRope(config, {.partial = 0.5, .partial_allowed = true}, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadDeepSeekMoeLayers(config, 1, &spec));
  DS_RETURN_IF_ERROR(ReadSigmoidRouter(config, 1.0, &spec.router));
  DS_ASSIGN(spec.expert.width, config.Size("moe_intermediate_size"));
  DS_RETURN_IF_ERROR(ReadSharedExperts(config, &spec.expert));
  return spec;
}

Result<ModelSpec> FromGguf(const GgufFile& file) {
  ModelSpec spec;
  const GgufKeys keys(file, kTraits.arch);
  DS_RETURN_IF_ERROR(ReadGgufModel(keys, kName, &spec));
  DS_RETURN_IF_ERROR(ReadGgufGroupedAttention(keys, &spec));
  // GLM-4.5 has the norms, GLM-4.5-Air has not; no key tells.
  const bool qk_norm = file.FindTensor("blk.0.attn_q_norm.weight") != nullptr;
  spec.attention.qk_norm = qk_norm ? QkNorm::kPerHead : QkNorm::kNone;
  DS_RETURN_IF_ERROR(ReadGgufRope(keys, kTraits, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadGgufLayers(keys, kTraits, &spec));
  DS_RETURN_IF_ERROR(CheckGating(keys, kGatingSigmoid, kGatingSigmoid));
  spec.router.score = RouterScore::kSigmoid;
  spec.router.has_selection_bias = true;
  spec.router.group_score = GroupScore::kSumOfTopTwo;
  DS_RETURN_IF_ERROR(ReadGgufExperts(keys, kTraits, &spec));
  DS_ASSIGN(const int64_t num_shared, keys.IntOr("expert_shared_count", 0, 0, kMaxSize / spec.expert.width));
  spec.expert.num_shared = static_cast<int>(num_shared);
  spec.expert.shared_width = spec.expert.num_shared * spec.expert.width;
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) {
  DS_RETURN_IF_ERROR(WriteGrouped(kTraits, spec, writer));
  WriteU32(kTraits, "expert_shared_count", spec.expert.num_shared, writer);
  WriteU32(kTraits, "expert_gating_func", kGatingSigmoid, writer);
  return {};
}

}  // namespace

Architecture Glm4MoeArchitecture() {
  return {.name = kName,
          .model_types = {"glm4_moe"},
          .gguf = kTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kGroupedNames, kDenseMlpNames, kExpertNames, kSelectionBiasNames,
                    kSharedExpertNames, kMtpNames},
          .gguf_names = kGgufNames};
}

}  // namespace deepshock
