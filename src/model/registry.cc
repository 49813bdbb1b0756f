// SPDX-License-Identifier: Apache-2.0
#include "model/registry.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/json.h"
#include "model/arch/config.h"
#include "model/arch/families.h"
#include "model/arch/gguf_parts.h"

namespace deepshock {
namespace {

// "model.layers.{l}.mlp.experts.{e}.up_proj.weight" with its numbers filled in.
std::string Fill(std::string_view pattern, int layer, int expert) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const std::string_view rest = pattern.substr(i);
    if (rest.starts_with("{l}") || rest.starts_with("{e}")) {
      out += std::to_string(rest[1] == 'l' ? layer : expert);
      i += 2;
    } else {
      out += pattern[i];
    }
  }
  return out;
}

const TensorName* FindName(TensorNames names, std::string_view canonical) {
  const auto it = std::ranges::find(names, canonical, &TensorName::canonical);
  return it == names.end() ? nullptr : &*it;
}

std::string KnownModelTypes() {
  std::string out;
  for (const Architecture& a : Architectures()) {
    for (const std::string_view type : a.model_types) out += (out.empty() ? "" : ", ") + std::string(type);
  }
  return out;
}

std::string KnownGgufNames() {
  std::vector<std::string_view> names;
  for (const Architecture& a : Architectures()) {
    if (std::ranges::find(names, a.gguf.arch) == names.end()) names.push_back(a.gguf.arch);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// "deepseek2" without expert_gating_func is softmax to llama.cpp (V2 files from before V3 came), but no V2
// model has a selection bias.
Result<std::string_view> DeepSeekByGguf(const GgufFile& file) {
  constexpr const char* kKey = "deepseek2.expert_gating_func";
  if (!file.Has(kKey)) {
    const bool biased = std::ranges::any_of(
        file.tensors(), [](const StoredTensor& t) { return t.name.ends_with(".exp_probs_b.bias"); });
    return std::string_view(biased ? "deepseek_v3" : "deepseek_v2");
  }
  DS_ASSIGN(const int64_t gating, file.GetInt(kKey));
  if (gating == kGatingSoftmax) return std::string_view("deepseek_v2");
  if (gating == kGatingSigmoid) return std::string_view("deepseek_v3");
  return Fail("{}: key \"{}\": expected 1 (softmax) or 2 (sigmoid), found {}", file.path(), kKey, gating);
}

Result<std::string_view> LlamaByGguf(const GgufFile& file) {
  constexpr const char* kKey = "llama.expert_count";
  if (!file.Has(kKey)) return std::string_view("llama");
  DS_ASSIGN(const int64_t num_experts, file.GetInt(kKey));
  return std::string_view(num_experts > 0 ? "mixtral" : "llama");
}

Status Within(const char* what, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return {};
  return Fail("{}: expected from {} to {}, found {}", what, min, max, value);
}

Status Positive(const char* what, double value) {
  if (value > 0 && std::isfinite(value)) return {};
  return Fail("{}: expected a positive number, found {}", what, value);
}

// Rows of q, k, v together: far above the largest model's 24576, and small enough that a token's state is.
constexpr int64_t kMaxProjection = 1 << 22;
// Routed experts of all layers: Kimi-K2 has 23040. Bounds what a loader sets up before it has seen a tensor.
constexpr int64_t kMaxExpertsInAll = 1 << 18;

Status ValidateAttention(const ModelSpec& spec) {
  const AttentionSpec& a = spec.attention;
  DS_RETURN_IF_ERROR(Within("attention heads", a.num_heads, 1, kMaxSize));
  DS_RETURN_IF_ERROR(Within("head size", a.head_dim, 1, kMaxSize));
  DS_RETURN_IF_ERROR(Within("value head size", a.v_head_dim, 1, kMaxSize));
  DS_RETURN_IF_ERROR(
      Within("attention heads x head size", int64_t{a.num_heads} * a.head_dim, 1, kMaxProjection));
  DS_RETURN_IF_ERROR(
      Within("attention heads x value head size", int64_t{a.num_heads} * a.v_head_dim, 1, kMaxProjection));
  DS_RETURN_IF_ERROR(Positive("softmax scale", a.softmax_scale));
  if (a.kind == AttentionKind::kGrouped) {
    DS_RETURN_IF_ERROR(Within("key/value heads", a.num_kv_heads, 1, a.num_heads));
    if (a.num_heads % a.num_kv_heads != 0) {
      return Fail("attention heads: expected a multiple of {} key/value heads, found {}", a.num_kv_heads,
                  a.num_heads);
    }
    return {};
  }
  DS_RETURN_IF_ERROR(Within("q_lora_rank", a.q_lora_rank, 0, kMaxSize));
  DS_RETURN_IF_ERROR(Within("kv_lora_rank", a.kv_lora_rank, 1, kMaxSize));
  DS_RETURN_IF_ERROR(Within("heads' part without rope", a.nope_dim, 1, a.head_dim));
  DS_RETURN_IF_ERROR(Within("heads' part with rope", a.rope_dim, 1, a.head_dim));
  if (a.nope_dim + a.rope_dim != a.head_dim) {
    return Fail("head size: expected {} + {}, found {}", a.nope_dim, a.rope_dim, a.head_dim);
  }
  return {};
}

Status ValidateRope(const ModelSpec& spec) {
  const RopeSpec& r = spec.rope;
  const bool latent = spec.attention.kind == AttentionKind::kLatent;
  const int rotating = latent ? spec.attention.rope_dim : spec.attention.head_dim;
  DS_RETURN_IF_ERROR(Within("rotary dimensions", r.dims, latent ? rotating : 2, rotating));
  if (r.dims % 2 != 0) return Fail("rotary dimensions: expected an even number, found {}", r.dims);
  if (!(r.theta > 1 && std::isfinite(r.theta)))
    return Fail("rope theta: expected more than 1, found {}", r.theta);
  DS_RETURN_IF_ERROR(Positive("rope factor", r.factor));
  DS_RETURN_IF_ERROR(Positive("rope magnitude", r.magnitude));
  if (r.scaling == RopeScaling::kYarn || r.scaling == RopeScaling::kLlama3) {
    DS_RETURN_IF_ERROR(Within("rope's original context", r.original_context, 1, kMaxContext));
  }
  DS_RETURN_IF_ERROR(Positive("rope beta_fast", r.beta_fast));
  DS_RETURN_IF_ERROR(Positive("rope beta_slow", r.beta_slow));
  DS_RETURN_IF_ERROR(Positive("rope low_freq_factor", r.low_freq_factor));
  if (!(r.high_freq_factor > r.low_freq_factor)) {
    return Fail("rope high_freq_factor: expected more than {}, found {}", r.low_freq_factor,
                r.high_freq_factor);
  }
  if (!r.divisors.empty() && r.divisors.size() != static_cast<size_t>(r.dims / 2)) {
    return Fail("rope divisors: expected {}, found {}", r.dims / 2, r.divisors.size());
  }
  return {};
}

Status ValidateExperts(const ModelSpec& spec) {
  const RouterSpec& r = spec.router;
  const ExpertSpec& e = spec.expert;
  DS_RETURN_IF_ERROR(Within("experts of all layers",
                            (int64_t{spec.num_layers()} + spec.num_mtp_layers) * r.num_experts, 1,
                            kMaxExpertsInAll));
  DS_RETURN_IF_ERROR(Within("expert width", e.width, 1, kMaxSize));
  DS_RETURN_IF_ERROR(Within("shared experts' width", e.shared_width, 0, kMaxSize));
  DS_RETURN_IF_ERROR(Within("expert groups", r.num_groups, 1, r.num_experts));
  if (r.num_experts % r.num_groups != 0) {
    return Fail("expert groups: expected a divisor of {} experts, found {}", r.num_experts, r.num_groups);
  }
  DS_RETURN_IF_ERROR(Within("chosen groups", r.top_groups, 1, r.num_groups));
  DS_RETURN_IF_ERROR(
      Within("chosen experts", r.top_k, 1, int64_t{r.num_experts} / r.num_groups * r.top_groups));
  DS_RETURN_IF_ERROR(Positive("clamp limit", e.clamp_limit));
  if (!(std::isfinite(r.scale) && r.scale >= 0))
    return Fail("routed scale: expected 0 or more, found {}", r.scale);
  return {};
}

Status ValidateLayers(const ModelSpec& spec) {
  DS_RETURN_IF_ERROR(Within("layers", static_cast<int64_t>(spec.layers.size()), 1, kMaxLayers));
  DS_RETURN_IF_ERROR(Within("MTP layers", spec.num_mtp_layers, 0, 64));
  DS_RETURN_IF_ERROR(Within("sliding window", spec.attention.sliding_window, 0, INT32_MAX));
  const auto check = [&](const LayerSpec& layer) -> Status {
    if (layer.is_sliding && spec.attention.sliding_window == 0) {
      return Fail("sliding window: expected a positive number, as some layers slide, found 0");
    }
    if (layer.is_moe && spec.router.num_experts == 0)
      return Fail("experts: expected some for MoE layers, found none");
    return layer.is_moe ? Status() : Within("width of dense layers", spec.dense_width, 1, kMaxSize);
  };
  for (const LayerSpec& layer : spec.layers) DS_RETURN_IF_ERROR(check(layer));
  return spec.num_mtp_layers > 0 ? check(spec.mtp_layer) : Status();
}

}  // namespace

const std::vector<Architecture>& Architectures() {
  static const std::vector<Architecture> kAll = {
      DeepSeekV2Architecture(), DeepSeekV3Architecture(), MixtralArchitecture(), Qwen2MoeArchitecture(),
      Qwen3MoeArchitecture(),   OlmoeArchitecture(),      GptOssArchitecture(),  Glm4MoeArchitecture(),
      LlamaArchitecture(),      Qwen2Architecture(),      Qwen3Architecture(),
  };
  return kAll;
}

std::string Architecture::HfName(std::string_view canonical, int layer, int expert) const {
  for (const TensorNames& table : names) {
    if (const TensorName* found = FindName(table, canonical)) return Fill(found->name, layer, expert);
  }
  return "";
}

std::string Architecture::GgufName(std::string_view canonical, int layer) const {
  const TensorName* found = FindName(gguf_names, canonical);
  const std::string_view stored = found != nullptr ? found->name : canonical;
  return layer < 0 ? std::string(stored) : fmt::format("blk.{}.{}", layer, stored);
}

const Architecture* FindArchitecture(std::string_view name) {
  const auto it = std::ranges::find(Architectures(), name, &Architecture::name);
  return it == Architectures().end() ? nullptr : &*it;
}

const Architecture* FindByModelType(std::string_view model_type) {
  for (const Architecture& a : Architectures()) {
    if (std::ranges::find(a.model_types, model_type) != a.model_types.end()) return &a;
  }
  return nullptr;
}

Result<const Architecture*> FindByGguf(const GgufFile& file) {
  DS_ASSIGN(const std::string arch, file.GetString("general.architecture"));
  if (arch == "deepseek2") {
    DS_ASSIGN(const std::string_view name, DeepSeekByGguf(file));
    return FindArchitecture(name);
  }
  if (arch == "llama") {
    DS_ASSIGN(const std::string_view name, LlamaByGguf(file));
    return FindArchitecture(name);
  }
  const auto it =
      std::ranges::find_if(Architectures(), [&](const Architecture& a) { return a.gguf.arch == arch; });
  if (it != Architectures().end()) return &*it;
  return Fail("{}: key \"general.architecture\": expected one of {}, found \"{}\"", file.path(),
              KnownGgufNames(), arch.substr(0, 60));
}

Result<ModelSpec> SpecFromConfig(std::string_view config_json, const std::string& file_name) {
  DS_ASSIGN(const Json json, ParseJson(config_json).WithContext(file_name));
  if (!json.is_object()) return Fail("{}: expected a JSON object, found {}", file_name, json.type_name());
  const Config config(json, file_name);
  DS_ASSIGN(const std::string model_type, config.StringOr("model_type", ""));
  const Architecture* architecture = FindByModelType(model_type);
  if (architecture == nullptr) return config.Expected("model_type", "one of " + KnownModelTypes());
  DS_ASSIGN(ModelSpec spec, architecture->from_config(config));
  DS_RETURN_IF_ERROR(ValidateSpec(spec).WithContext(file_name));
  return spec;
}

Result<ModelSpec> SpecFromGguf(const GgufFile& file) {
  DS_ASSIGN(const Architecture* architecture, FindByGguf(file));
  DS_ASSIGN(ModelSpec spec, architecture->from_gguf(file));
  DS_RETURN_IF_ERROR(ValidateSpec(spec).WithContext(file.path()));
  return spec;
}

bool MayIgnoreHfTensor(const ModelSpec& spec, std::string_view name) {
  if (spec.tied_head && name == "lm_head.weight") return true;
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".rotary_emb.cos_cached") ||
         name.ends_with(".rotary_emb.sin_cached");
}

bool MayIgnoreGgufTensor(const ModelSpec& spec, std::string_view name) {
  return name == "rope_freqs.weight" && !spec.rope.divisors.empty();
}

Status ValidateSpec(const ModelSpec& spec) {
  if (FindArchitecture(spec.architecture) == nullptr) {
    return Fail("architecture: expected one of {}, found \"{}\"", KnownModelTypes(), spec.architecture);
  }
  DS_RETURN_IF_ERROR(Within("vocabulary", spec.vocab_size, 1, kMaxVocab));
  DS_RETURN_IF_ERROR(Within("hidden size", spec.hidden, 1, kMaxSize));
  DS_RETURN_IF_ERROR(Within("context length", spec.context_length, 1, kMaxContext));
  if (!(spec.norm_eps >= 0 && spec.norm_eps <= 1)) {
    return Fail("norm epsilon: expected from 0 to 1, found {}", spec.norm_eps);
  }
  DS_RETURN_IF_ERROR(ValidateLayers(spec));
  DS_RETURN_IF_ERROR(ValidateAttention(spec));
  DS_RETURN_IF_ERROR(ValidateRope(spec));
  DS_RETURN_IF_ERROR(Within("experts", spec.router.num_experts, 0, kMaxExpertsInAll));
  if (spec.router.num_experts > 0) DS_RETURN_IF_ERROR(ValidateExperts(spec));
  for (const int32_t id : spec.eos_tokens)
    DS_RETURN_IF_ERROR(Within("eos token", id, 0, spec.vocab_size - 1));
  return Within("bos token", spec.bos_token, -1, spec.vocab_size - 1);
}

// transformers' _compute_llama3_parameters, as the quotient of the frequency before and after.
std::vector<float> RopeDivisors(const RopeSpec& rope) {
  if (rope.scaling != RopeScaling::kLlama3) return rope.divisors;
  std::vector<float> out;
  const auto original = static_cast<double>(rope.original_context);
  for (int i = 0; i < rope.dims / 2; ++i) {
    const double wavelength = 2 * std::numbers::pi * std::pow(rope.theta, 2.0 * i / rope.dims);
    const double smooth =
        (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
    const double kept = std::clamp(smooth, 0.0, 1.0);
    out.push_back(static_cast<float>(1.0 / ((1.0 - kept) / rope.factor + kept)));
  }
  return out;
}

}  // namespace deepshock
