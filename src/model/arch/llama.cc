// SPDX-License-Identifier: Apache-2.0
// Dense Llama 1 to 3 and Mistral: a model of one expert that every token takes.
#include "model/arch/families.h"
#include "model/arch/gguf_parts.h"
#include "model/arch/hf_parts.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "llama";
// llama.cpp's converter permutes the rows of q and k so that rope's pairs lie side by side.
constexpr GgufTraits kTraits{.arch = "llama", .layout = RopeLayout::kInterleaved, .rope_freqs = true};

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-6, &spec));
  DS_RETURN_IF_ERROR(ReadGroupedAttention(config, &spec));
  DS_RETURN_IF_ERROR(ReadAttentionBias(config, "attention_bias", false, true, &spec.attention));
  DS_RETURN_IF_ERROR(config.RequireFalse("mlp_bias"));
  DS_RETURN_IF_ERROR(ReadRope(config, {}, spec.attention.head_dim, &spec));
  DS_ASSIGN(const std::string model_type, config.StringOr("model_type", kName));
  if (model_type == "mistral") DS_RETURN_IF_ERROR(ReadWindow(config, WindowRule::kAll, &spec));
  DS_ASSIGN(spec.dense_width, config.Size("intermediate_size"));
  return spec;
}

Result<ModelSpec> FromGguf(const GgufFile& file) {
  ModelSpec spec;
  const GgufKeys keys(file, kTraits.arch);
  DS_RETURN_IF_ERROR(ReadGgufModel(keys, kName, &spec));
  DS_RETURN_IF_ERROR(ReadGgufGroupedAttention(keys, &spec));
  DS_RETURN_IF_ERROR(ReadGgufRope(keys, kTraits, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadGgufWindow(keys, kTraits, &spec));
  DS_ASSIGN(spec.dense_width, keys.Size("feed_forward_length"));
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) { return WriteGrouped(kTraits, spec, writer); }

}  // namespace

Architecture LlamaArchitecture() {
  return {.name = kName,
          .model_types = {"llama", "mistral"},
          .gguf = kTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kGroupedNames, kDenseMlpNames},
          .gguf_names = {}};
}

}  // namespace deepshock
