// SPDX-License-Identifier: Apache-2.0
// DeepSeek-V3, R1, V3.1 (arXiv 2412.19437) and Kimi-K2: MLA, sigmoid routing with a selection bias, MTP
// layers.
#include "model/arch/deepseek_parts.h"
#include "model/arch/families.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "deepseek_v3";

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-6, &spec));
  DS_RETURN_IF_ERROR(ReadLatentAttention(config, &spec));
  DS_RETURN_IF_ERROR(ReadDeepSeekMoeLayers(config, 3, &spec));
  DS_RETURN_IF_ERROR(ReadSigmoidRouter(config, 2.5, &spec.router));
  DS_ASSIGN(spec.expert.width, config.Size("moe_intermediate_size"));
  DS_RETURN_IF_ERROR(ReadSharedExperts(config, &spec.expert));
  return spec;
}

Result<ModelSpec> FromGguf(const GgufFile& file) {
  ModelSpec spec;
  spec.router.score = RouterScore::kSigmoid;
  spec.router.has_selection_bias = true;
  spec.router.group_score = GroupScore::kSumOfTopTwo;
  DS_RETURN_IF_ERROR(ReadGgufDeepSeek(file, kName, &spec));
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) {
  return WriteLatent(kDeepSeekTraits, spec, writer);
}

}  // namespace

Architecture DeepSeekV3Architecture() {
  return {.name = kName,
          .model_types = {"deepseek_v3", "kimi_k2"},
          .gguf = kDeepSeekTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kLatentNames, kDenseMlpNames, kExpertNames, kSelectionBiasNames,
                    kSharedExpertNames, kMtpNames},
          .gguf_names = {}};
}

}  // namespace deepshock
