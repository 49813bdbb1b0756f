// SPDX-License-Identifier: Apache-2.0
// DeepSeek-V2, V2-Lite, V2.5 (arXiv 2405.04434): MLA, softmax routing, groups scored by their best expert.
#include "model/arch/deepseek_parts.h"
#include "model/arch/families.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "deepseek_v2";

Status ReadRouter(const Config& config, RouterSpec* router) {
  DS_ASSIGN(const std::string scoring, config.StringOr("scoring_func", "softmax"));
  if (scoring != "softmax") return config.Expected("scoring_func", "\"softmax\"");
  DS_ASSIGN(router->num_experts, config.Size("n_routed_experts"));
  DS_ASSIGN(router->top_k, config.Size("num_experts_per_tok"));
  DS_ASSIGN(const std::string method, config.StringOr("topk_method", "greedy"));
  if (method == "group_limited_greedy") {
    DS_RETURN_IF_ERROR(ReadGroups(config, router));
  } else if (method != "greedy") {
    return config.Expected("topk_method", "\"greedy\" or \"group_limited_greedy\"");
  }
  // DeepSeek's modeling_deepseek.py: either renormalises or scales.
  DS_ASSIGN(router->normalise, config.BoolOr("norm_topk_prob", false));
  DS_ASSIGN(const double scale, config.FloatOr("routed_scaling_factor", 1.0, 0.0, 1e12));
  router->scale = router->normalise ? 1.0 : scale;
  return {};
}

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-6, &spec));
  DS_RETURN_IF_ERROR(ReadLatentAttention(config, &spec));
  DS_RETURN_IF_ERROR(config.RequireFalse("mlp_bias"));
  DS_RETURN_IF_ERROR(ReadDeepSeekMoeLayers(config, 0, &spec));
  DS_RETURN_IF_ERROR(ReadRouter(config, &spec.router));
  DS_ASSIGN(spec.expert.width, config.Size("moe_intermediate_size"));
  DS_RETURN_IF_ERROR(ReadSharedExperts(config, &spec.expert));
  return spec;
}

Result<ModelSpec> FromGguf(const GgufFile& file) {
  ModelSpec spec;
  DS_RETURN_IF_ERROR(ReadGgufDeepSeek(file, kName, &spec));
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) {
  return WriteLatent(kDeepSeekTraits, spec, writer);
}

}  // namespace

Architecture DeepSeekV2Architecture() {
  return {.name = kName,
          .model_types = {"deepseek_v2"},
          .gguf = kDeepSeekTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kLatentNames, kDenseMlpNames, kExpertNames, kSharedExpertNames, kMtpNames},
          .gguf_names = {}};
}

}  // namespace deepshock
