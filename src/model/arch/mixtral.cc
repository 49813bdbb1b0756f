// SPDX-License-Identifier: Apache-2.0
// Mixtral 8x7B and 8x22B (arXiv 2401.04088): softmax over the chosen experts. In GGUF it shares "llama".
#include "model/arch/families.h"
#include "model/arch/gguf_parts.h"
#include "model/arch/hf_parts.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "mixtral";
constexpr GgufTraits kTraits{
    .arch = "llama", .layout = RopeLayout::kInterleaved, .experts_use_dense_width = true, .rope_freqs = true};

constexpr TensorName kMixtralNames[] = {
    {"ffn_gate_inp.weight", "model.layers.{l}.block_sparse_moe.gate.weight"},
    {"ffn_gate_exps.weight", "model.layers.{l}.block_sparse_moe.experts.{e}.w1.weight"},
    {"ffn_up_exps.weight", "model.layers.{l}.block_sparse_moe.experts.{e}.w3.weight"},
    {"ffn_down_exps.weight", "model.layers.{l}.block_sparse_moe.experts.{e}.w2.weight"},
};

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-5, &spec));
  DS_RETURN_IF_ERROR(ReadGroupedAttention(config, &spec));
  DS_RETURN_IF_ERROR(config.RequireFalse("attention_bias"));
  DS_RETURN_IF_ERROR(ReadRope(config, {.theta = 1e6}, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadWindow(config, WindowRule::kAll, &spec));
  for (LayerSpec& layer : spec.layers) layer.is_moe = true;
  spec.router.score = RouterScore::kSoftmaxOfChosen;
  DS_ASSIGN(spec.router.num_experts, config.Size("num_local_experts"));
  DS_ASSIGN(spec.router.top_k, config.Size("num_experts_per_tok"));
  DS_ASSIGN(spec.expert.width, config.Size("intermediate_size"));
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
  spec.router.score = RouterScore::kSoftmaxOfChosen;
  // llama.cpp renormalises the softmax over all, which is the same number.
  DS_RETURN_IF_ERROR(CheckGating(keys, kGatingSoftmax, kGatingSoftmaxOfChosen));
  DS_RETURN_IF_ERROR(ReadGgufExperts(keys, kTraits, &spec));
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) { return WriteGrouped(kTraits, spec, writer); }

}  // namespace

Architecture MixtralArchitecture() {
  return {.name = kName,
          .model_types = {"mixtral"},
          .gguf = kTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kGroupedNames, kMixtralNames},
          .gguf_names = {}};
}

}  // namespace deepshock
