// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <vector>

#include "model/arch/gguf_parts.h"
#include "model/arch/gguf_rules.h"

namespace deepshock {
namespace {

class Writer {
 public:
  Writer(const GgufTraits& traits, GgufWriter* out) : traits_(traits), out_(out) {}

  void U32(std::string_view suffix, int64_t value) {
    out_->SetU32(Key(suffix), static_cast<uint32_t>(value));
  }
  void F32(std::string_view suffix, double value) { out_->SetF32(Key(suffix), static_cast<float>(value)); }
  void Bool(std::string_view suffix, bool value) { out_->SetBool(Key(suffix), value); }
  void String(std::string_view suffix, std::string_view value) { out_->SetString(Key(suffix), value); }
  void Flags(std::string_view key, const std::vector<int32_t>& flags) { out_->SetI32s(key, flags); }
  void Exact(std::string_view key, double value) {
    out_->SetValue(key, GgufValue(GgufScalar(value)), GgufType::kF64);
  }

  void Model(const ModelSpec& spec);
  void Layers(const ModelSpec& spec);
  void Window(const ModelSpec& spec);
  void Experts(const ModelSpec& spec);
  Status Rope(const ModelSpec& spec);

  std::string Key(std::string_view suffix) const {
    return std::string(traits_.arch) + "." + std::string(suffix);
  }

 private:
  double Yarn(const ModelSpec& spec);

  const GgufTraits& traits_;
  GgufWriter* out_;
};

void Writer::Model(const ModelSpec& spec) {
  out_->SetString("general.architecture", traits_.arch);
  U32("vocab_size", spec.vocab_size);
  U32("context_length", std::min<int64_t>(spec.context_length, UINT32_MAX));
  U32("embedding_length", spec.hidden);
  U32("block_count", spec.num_layers() + spec.num_mtp_layers);
  if (spec.num_mtp_layers > 0) U32("nextn_predict_layers", spec.num_mtp_layers);
  U32("attention.head_count", spec.attention.num_heads);
  F32("attention.layer_norm_rms_epsilon", spec.norm_eps);
  if (!spec.eos_tokens.empty()) Flags(kKeyEosTokens, spec.eos_tokens);
  if (spec.bos_token >= 0) out_->SetU32(kKeyBosToken, static_cast<uint32_t>(spec.bos_token));
}

void Writer::Layers(const ModelSpec& spec) {
  // llama.cpp takes experts' widths from here in some families, and expects the key in most others.
  U32("feed_forward_length", spec.dense_width > 0 ? spec.dense_width : spec.expert.width);
  if (spec.router.num_experts == 0) return;
  const auto first_moe = std::ranges::find_if(spec.layers, &LayerSpec::is_moe);
  const auto num_dense = traits_.leading_dense ? first_moe - spec.layers.begin() : 0;
  if (traits_.leading_dense) U32("leading_dense_block_count", num_dense);
  const bool as_assumed = std::all_of(spec.layers.begin() + num_dense, spec.layers.end(),
                                      [](const LayerSpec& layer) { return layer.is_moe; });
  if (as_assumed) return;
  std::vector<int32_t> flags;
  for (const LayerSpec& layer : spec.layers) flags.push_back(layer.is_moe ? 1 : 0);
  Flags(kKeyMoeLayers, flags);
}

void Writer::Window(const ModelSpec& spec) {
  if (spec.attention.sliding_window == 0) return;
  U32("attention.sliding_window", spec.attention.sliding_window);
  std::vector<int32_t> flags;
  bool as_assumed = true;
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    flags.push_back(spec.layers[i].is_sliding ? 1 : 0);
    as_assumed = as_assumed && spec.layers[i].is_sliding == AssumedSliding(traits_, i);
  }
  if (!as_assumed) Flags(Key("attention.sliding_window_pattern"), flags);
}

void Writer::Experts(const ModelSpec& spec) {
  const RouterSpec& r = spec.router;
  if (r.num_experts == 0) return;
  U32("expert_count", r.num_experts);
  U32("expert_used_count", r.top_k);
  if (r.num_groups > 1) {
    U32("expert_group_count", r.num_groups);
    U32("expert_group_used_count", r.top_groups);
  }
  if (r.normalise || traits_.normalise) Bool("expert_weights_norm", r.normalise);
  F32("expert_weights_scale", r.scale);  // also where it is 1: ik_llama.cpp asks for it
  if (!traits_.experts_use_dense_width) U32("expert_feed_forward_length", spec.expert.width);
  constexpr double kDefaultClamp = ExpertSpec{}.clamp_limit;
  if (spec.expert.activation == Activation::kClampedSwiGlu && spec.expert.clamp_limit != kDefaultClamp) {
    Exact(kKeyClampLimit, spec.expert.clamp_limit);
  }
}

// Returns mscale_all_dim as a reader will find it.
double Writer::Yarn(const ModelSpec& spec) {
  const RopeSpec& r = spec.rope;
  const AttentionSpec& a = spec.attention;
  String("rope.scaling.type", "yarn");
  F32("rope.scaling.factor", r.factor);
  U32("rope.scaling.original_context_length", std::min<int64_t>(r.original_context, UINT32_MAX));
  F32("rope.scaling.yarn_beta_fast", r.beta_fast);
  F32("rope.scaling.yarn_beta_slow", r.beta_slow);
  if (r.truncate != traits_.yarn_truncate) out_->SetBool(kKeyTruncate, r.truncate);
  if (a.kind == AttentionKind::kGrouped) {
    const double plain = YarnMagnitude(r.factor, 1.0);
    if (r.magnitude != plain) F32("rope.scaling.attn_factor", r.magnitude / plain);
    return 0;
  }
  // softmax_scale = head_dim^-0.5 m(f, all)^2, solved for `all`.
  const double m = std::sqrt(a.softmax_scale * std::sqrt(static_cast<double>(a.head_dim)));
  if (r.factor <= 1.0 || m <= 1.0 + 1e-9) return 0;
  const double all_dim = (m - 1.0) / (0.1 * std::log(r.factor));
  const float stored = LogMultiplier(ShortestDecimal(static_cast<float>(all_dim)));
  out_->SetF32(Key("rope.scaling.yarn_log_multiplier"), stored);
  return ShortestDecimal(static_cast<float>(ShortestDecimal(stored) * 10));
}

Status Writer::Rope(const ModelSpec& spec) {
  const RopeSpec& r = spec.rope;
  U32("rope.dimension_count", r.dims);
  F32("rope.freq_base", r.theta);
  double all_dim = 0;
  if (r.scaling == RopeScaling::kLinear) {
    String("rope.scaling.type", "linear");
    F32("rope.scaling.factor", r.factor);
  } else if (r.scaling == RopeScaling::kYarn) {
    all_dim = Yarn(spec);
  }
  const bool needs_freqs = r.scaling == RopeScaling::kLlama3 || !r.divisors.empty();
  if (needs_freqs && !traits_.rope_freqs) {
    return Fail(
        "rope scaling \"llama3\": expected architecture llama, the only one whose GGUF form has it, found {}",
        traits_.arch);
  }
  const YarnEffect effect = AssumedYarn(r, all_dim);
  if (r.magnitude != effect.magnitude) Exact(kKeyMagnitude, r.magnitude);
  const double scale = PlainSoftmaxScale(spec.attention.head_dim) * effect.softmax_factor;
  if (spec.attention.softmax_scale != scale) Exact(kKeySoftmaxScale, spec.attention.softmax_scale);
  return {};
}

}  // namespace

void WriteU32(const GgufTraits& traits, std::string_view suffix, int64_t value, GgufWriter* writer) {
  Writer(traits, writer).U32(suffix, value);
}

Status WriteGrouped(const GgufTraits& traits, const ModelSpec& spec, GgufWriter* writer) {
  Writer w(traits, writer);
  w.Model(spec);
  w.U32("attention.head_count_kv", spec.attention.num_kv_heads);
  w.U32("attention.key_length", spec.attention.head_dim);
  w.U32("attention.value_length", spec.attention.v_head_dim);
  w.Window(spec);
  w.Layers(spec);
  w.Experts(spec);
  return w.Rope(spec);
}

Status WriteLatent(const GgufTraits& traits, const ModelSpec& spec, GgufWriter* writer) {
  const AttentionSpec& a = spec.attention;
  Writer w(traits, writer);
  w.Model(spec);
  // llama.cpp computes MLA as attention with one key/value head of latent and rope.
  w.U32("attention.head_count_kv", 1);
  w.U32("attention.key_length", a.kv_lora_rank + a.rope_dim);
  w.U32("attention.value_length", a.kv_lora_rank);
  w.U32("attention.key_length_mla", a.head_dim);
  w.U32("attention.value_length_mla", a.v_head_dim);
  // Required by llama.cpp but for 26 and 27 layers; 0 means that q is one matrix.
  w.U32("attention.q_lora_rank", a.q_lora_rank);
  w.U32("attention.kv_lora_rank", a.kv_lora_rank);
  w.Layers(spec);
  w.Experts(spec);
  w.U32("expert_shared_count", spec.expert.num_shared);
  w.U32("expert_gating_func", spec.router.score == RouterScore::kSigmoid ? kGatingSigmoid : kGatingSoftmax);
  return w.Rope(spec);
}

}  // namespace deepshock
