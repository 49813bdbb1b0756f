// SPDX-License-Identifier: Apache-2.0
// gpt-oss (arXiv 2508.10925): biases everywhere, attention sinks, every other layer slides, clamped SwiGLU.
// Checkpoints stack the experts, gate and up interleaved; weights.cc takes them apart, here are their names.
#include "model/arch/families.h"
#include "model/arch/gguf_parts.h"
#include "model/arch/hf_parts.h"
#include "model/arch/names.h"

namespace deepshock {
namespace {

constexpr std::string_view kName = "gpt_oss";
// Published checkpoints set truncate to false, for which llama.cpp has no key.
constexpr GgufTraits kTraits{
    .arch = "gpt-oss", .alternating_window = true, .yarn_truncate = false, .needs_output = true};

// Without a suffix: of the stacked tensors, to which "", "_bias", "_blocks" or "_scales" is appended.
constexpr TensorName kGptOssNames[] = {
    {"attn_sinks.weight", "model.layers.{l}.self_attn.sinks"},
    {"ffn_gate_inp.weight", "model.layers.{l}.mlp.router.weight"},
    {"ffn_gate_inp.bias", "model.layers.{l}.mlp.router.bias"},
    {"ffn_gate_up_exps", "model.layers.{l}.mlp.experts.gate_up_proj"},
    {"ffn_down_exps", "model.layers.{l}.mlp.experts.down_proj"},
};
constexpr TensorName kGgufNames[] = {{"ffn_norm.weight", "post_attention_norm.weight"}};

// What neither a config nor GGUF metadata says, as every checkpoint has it.
void SetFixed(ModelSpec* spec) {
  spec->attention.qkv_bias = true;
  spec->attention.output_bias = true;
  spec->attention.sinks = true;
  spec->router.score = RouterScore::kSoftmaxOfChosen;
  spec->router.has_logit_bias = true;
  spec->expert.bias = true;
  spec->expert.activation = Activation::kClampedSwiGlu;
}

Result<ModelSpec> FromConfig(const Config& config) {
  ModelSpec spec;
  spec.architecture = kName;
  DS_RETURN_IF_ERROR(ReadModel(config, 1e-5, &spec));
  DS_RETURN_IF_ERROR(ReadGroupedAttention(config, &spec));
  SetFixed(&spec);
  DS_ASSIGN(const bool bias, config.BoolOr("attention_bias", true));
  if (!bias) return config.Expected("attention_bias", "true");
  DS_RETURN_IF_ERROR(ReadRope(config, {.theta = 150000.0}, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadWindow(config, WindowRule::kAlternating, &spec));
  for (LayerSpec& layer : spec.layers) layer.is_moe = true;
  DS_ASSIGN(spec.router.num_experts, ReadExpertCount(config, "num_local_experts", "num_experts"));
  DS_ASSIGN(spec.router.top_k, ReadExpertCount(config, "num_experts_per_tok", "experts_per_token"));
  DS_ASSIGN(spec.expert.width, config.Size("intermediate_size"));
  DS_ASSIGN(spec.expert.clamp_limit, config.FloatOr("swiglu_limit", 7.0, 1e-12, 1e12));
  return spec;
}

Result<ModelSpec> FromGguf(const GgufFile& file) {
  ModelSpec spec;
  const GgufKeys keys(file, kTraits.arch);
  DS_RETURN_IF_ERROR(ReadGgufModel(keys, kName, &spec));
  DS_RETURN_IF_ERROR(ReadGgufGroupedAttention(keys, &spec));
  SetFixed(&spec);
  DS_RETURN_IF_ERROR(ReadGgufRope(keys, kTraits, spec.attention.head_dim, &spec));
  DS_RETURN_IF_ERROR(ReadGgufWindow(keys, kTraits, &spec));
  DS_RETURN_IF_ERROR(ReadGgufLayers(keys, kTraits, &spec));
  DS_RETURN_IF_ERROR(CheckGating(keys, kGatingSoftmaxOfChosen, kGatingSoftmaxOfChosen));
  DS_RETURN_IF_ERROR(ReadGgufExperts(keys, kTraits, &spec));
  return spec;
}

Status ToGguf(const ModelSpec& spec, GgufWriter* writer) { return WriteGrouped(kTraits, spec, writer); }

}  // namespace

Architecture GptOssArchitecture() {
  return {.name = kName,
          .model_types = {"gpt_oss"},
          .gguf = kTraits,
          .from_config = FromConfig,
          .from_gguf = FromGguf,
          .to_gguf = ToGguf,
          .names = {kModelNames, kGroupedNames, kGptOssNames},
          .gguf_names = kGgufNames};
}

}  // namespace deepshock
