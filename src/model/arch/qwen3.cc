// SPDX-License-Identifier: Apache-2.0
// Dense Qwen3 (arXiv 2505.09388): q and k normed per head.
#include "model/arch/families.h"
#include "model/arch/gguf_parts.h"
#include "model/arch/hf_parts.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "qwen3";
constexpr GgufTraits kTraits{.arch = "qwen3"};

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-6, &spec));
  DS_RETURN_IF_ERROR(ReadGroupedAttention(config, &spec));
  DS_RETURN_IF_ERROR(ReadAttentionBias(config, "attention_bias", false, true, &spec.attention));
  spec.attention.qk_norm = QkNorm::kPerHead;
  DS_RETURN_IF_ERROR(ReadRope(config, {}, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadWindow(config, WindowRule::kQwen, &spec));
  DS_ASSIGN(spec.dense_width, config.Size("intermediate_size"));
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
  DS_ASSIGN(spec.dense_width, keys.Size("feed_forward_length"));
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) { return WriteGrouped(kTraits, spec, writer); }

}  // namespace

Architecture Qwen3Architecture() {
  return {.name = kName,
          .model_types = {"qwen3"},
          .gguf = kTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kGroupedNames, kDenseMlpNames},
          .gguf_names = {}};
}

}  // namespace deepshock
