// SPDX-License-Identifier: Apache-2.0
#include "model/arch/hf_parts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace deepshock {
namespace {

constexpr double kMaxFloat = 1e12;
constexpr double kTiny = 1e-12;

Status ReadQuantization(const Config& config) {
  if (!config.Has("quantization_config")) return {};
  DS_ASSIGN(const Config q, config.Object("quantization_config"));
  DS_ASSIGN(const std::string method, q.StringOr("quant_method", ""));
  if (method == "mxfp4") return {};
  if (method != "fp8") {
    return q.Expected("quant_method",
                      "\"fp8\" (blocks of 128x128) or \"mxfp4\", the quantisations supported");
  }
  DS_ASSIGN(const std::string format, q.StringOr("fmt", "e4m3"));
  if (format != "e4m3") return q.Expected("fmt", "\"e4m3\"");
  DS_ASSIGN(const auto block, q.IntsOrNone("weight_block_size", 1, kMaxSize));
  if (block != std::vector<int64_t>{128, 128}) return q.Expected("weight_block_size", "[128, 128]");
  return {};
}

Status ReadSpecialTokens(const Config& config, ModelSpec* spec) {
  DS_ASSIGN(const auto eos, config.IntsOrNone("eos_token_id", 0, spec->vocab_size - 1));
  for (const int64_t id : eos) {
    const auto token = static_cast<int32_t>(id);
    if (std::ranges::find(spec->eos_tokens, token) == spec->eos_tokens.end())
      spec->eos_tokens.push_back(token);
    if (spec->eos_tokens.size() > 1024)
      return config.Expected("eos_token_id", "at most 1024 different tokens");
  }
  DS_ASSIGN(const int64_t bos, config.IntOr("bos_token_id", -1, 0, spec->vocab_size - 1));
  spec->bos_token = static_cast<int32_t>(bos);
  return {};
}

// The object that holds rope's parameters, and under which key; `where` is empty when there is none.
Result<std::string> RopeKey(const Config& config) {
  const bool has_new = config.Has("rope_parameters"), has_old = config.Has("rope_scaling");
  if (has_new && has_old) {
    return Fail("{}: expected either \"rope_parameters\" or \"rope_scaling\", found both", config.where());
  }
  return std::string(has_new ? "rope_parameters" : has_old ? "rope_scaling" : "");
}

Result<std::string> RopeType(const Config& rope) {
  DS_ASSIGN(const std::string new_type, rope.StringOr("rope_type", ""));
  DS_ASSIGN(const std::string old_type, rope.StringOr("type", new_type));
  if (!new_type.empty() && old_type != new_type) {
    return Fail("{}: expected \"type\" and \"rope_type\" to agree, found \"{}\" and \"{}\"", rope.where(),
                old_type, new_type);
  }
  return old_type;
}

Status ReadYarn(const Config& config, const Config& rope, ModelSpec* spec, double* mscale_all_dim) {
  RopeSpec& r = spec->rope;
  r.scaling = RopeScaling::kYarn;
  DS_ASSIGN(r.factor, rope.Float("factor", kTiny, kMaxFloat));
  DS_ASSIGN(const int64_t top_level,
            config.IntOr("original_max_position_embeddings", spec->context_length, 1, kMaxContext));
  DS_ASSIGN(r.original_context, rope.IntOr("original_max_position_embeddings", top_level, 1, kMaxContext));
  DS_ASSIGN(r.beta_fast, rope.FloatOr("beta_fast", 32.0, kTiny, kMaxFloat));
  DS_ASSIGN(r.beta_slow, rope.FloatOr("beta_slow", 1.0, kTiny, kMaxFloat));
  if (r.beta_slow > r.beta_fast)
    return rope.Expected("beta_slow", fmt::format("at most beta_fast = {}", r.beta_fast));
  DS_ASSIGN(r.truncate, rope.BoolOr("truncate", true));
  DS_ASSIGN(const double mscale, rope.FloatOr("mscale", 0.0, 0.0, kMaxFloat));
  DS_ASSIGN(const double all_dim, rope.FloatOr("mscale_all_dim", 0.0, 0.0, kMaxFloat));
  // transformers' _compute_yarn_parameters: an explicit factor, else the ratio if both mscales are set, else
  // m(f, 1).
  double magnitude = YarnMagnitude(r.factor, 1.0);
  if (mscale > 0 && all_dim > 0)
    magnitude = YarnMagnitude(r.factor, mscale) / YarnMagnitude(r.factor, all_dim);
  DS_ASSIGN(r.magnitude, rope.FloatOr("attention_factor", magnitude, kTiny, kMaxFloat));
  if (mscale_all_dim != nullptr) *mscale_all_dim = all_dim;
  return {};
}

Status ReadLlama3(const Config& rope, RopeSpec* r) {
  r->scaling = RopeScaling::kLlama3;
  DS_ASSIGN(r->factor, rope.Float("factor", kTiny, kMaxFloat));
  DS_ASSIGN(r->low_freq_factor, rope.Float("low_freq_factor", kTiny, kMaxFloat));
  DS_ASSIGN(r->high_freq_factor, rope.Float("high_freq_factor", kTiny, kMaxFloat));
  if (r->high_freq_factor <= r->low_freq_factor) {
    return rope.Expected("high_freq_factor",
                         fmt::format("more than low_freq_factor = {}", r->low_freq_factor));
  }
  DS_ASSIGN(r->original_context, rope.Int("original_max_position_embeddings", 1, kMaxContext));
  return {};
}

Status ReadRopeScaling(const Config& config, const Config& rope, ModelSpec* spec, double* mscale_all_dim) {
  DS_ASSIGN(const std::string type, RopeType(rope));
  if (type == "default") return {};
  if (type == "linear") {
    spec->rope.scaling = RopeScaling::kLinear;
    DS_ASSIGN(spec->rope.factor, rope.Float("factor", kTiny, kMaxFloat));
    return {};
  }
  if (type == "yarn") return ReadYarn(config, rope, spec, mscale_all_dim);
  if (type == "llama3") return ReadLlama3(rope, &spec->rope);
  return rope.Expected(rope.Has("rope_type") ? "rope_type" : "type",
                       "\"default\", \"linear\", \"yarn\" or \"llama3\", the scalings supported");
}

Status ApplyLayerTypes(const Config& config, std::vector<LayerSpec>* layers) {
  DS_ASSIGN(const auto types, config.StringsOrNone("layer_types"));
  if (types.size() != layers->size()) {
    return config.Expected("layer_types", fmt::format("one item for each of {} layers", layers->size()));
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "full_attention" && types[i] != "sliding_attention") {
      return Fail(
          "{}: key \"layer_types\", item {}: expected \"full_attention\" or \"sliding_attention\", found "
          "\"{}\"",
          config.where(), i, types[i].substr(0, 60));
    }
    (*layers)[i].is_sliding = types[i] == "sliding_attention";
  }
  return {};
}

}  // namespace

double YarnMagnitude(double factor, double a) {
  return factor <= 1.0 ? 1.0 : 0.1 * a * std::log(factor) + 1.0;
}

double PlainSoftmaxScale(int head_dim) { return 1.0 / std::sqrt(static_cast<double>(head_dim)); }

Status ReadModel(const Config& config, double default_eps, ModelSpec* spec) {
  DS_ASSIGN(spec->vocab_size, config.Int("vocab_size", 1, kMaxVocab));
  DS_ASSIGN(spec->hidden, config.Size("hidden_size"));
  DS_ASSIGN(const int64_t num_layers, config.Int("num_hidden_layers", 1, kMaxLayers));
  spec->layers.resize(static_cast<size_t>(num_layers));
  DS_ASSIGN(spec->context_length, config.Int("max_position_embeddings", 1, kMaxContext));
  DS_ASSIGN(spec->norm_eps, config.FloatOr("rms_norm_eps", default_eps, 0.0, 1.0));
  DS_ASSIGN(spec->tied_head, config.BoolOr("tie_word_embeddings", false));
  DS_ASSIGN(const std::string activation, config.StringOr("hidden_act", "silu"));
  if (activation != "silu" && activation != "swish") return config.Expected("hidden_act", "\"silu\"");
  DS_RETURN_IF_ERROR(ReadQuantization(config));
  return ReadSpecialTokens(config, spec);
}

Status ReadGroupedAttention(const Config& config, ModelSpec* spec) {
  AttentionSpec& a = spec->attention;
  a.kind = AttentionKind::kGrouped;
  DS_ASSIGN(a.num_heads, config.Size("num_attention_heads"));
  DS_ASSIGN(a.num_kv_heads, config.SizeOr("num_key_value_heads", a.num_heads));
  if (a.num_heads % a.num_kv_heads != 0) {
    return config.Expected("num_key_value_heads",
                           fmt::format("a divisor of num_attention_heads = {}", a.num_heads));
  }
  if (!config.Has("head_dim") && spec->hidden % a.num_heads != 0) {
    return config.Expected("num_attention_heads", fmt::format("a divisor of hidden_size = {}", spec->hidden));
  }
  DS_ASSIGN(a.head_dim, config.SizeOr("head_dim", spec->hidden / a.num_heads));
  a.v_head_dim = a.head_dim;
  a.softmax_scale = PlainSoftmaxScale(a.head_dim);
  return {};
}

Status ReadAttentionBias(const Config& config, std::string_view key, bool fallback, bool with_output,
                         AttentionSpec* attention) {
  DS_ASSIGN(attention->qkv_bias, config.BoolOr(key, fallback));
  attention->output_bias = attention->qkv_bias && with_output;
  return {};
}

Status ReadRope(const Config& config, const RopeDefaults& defaults, int head_dims, ModelSpec* spec,
                double* mscale_all_dim) {
  RopeSpec& r = spec->rope;
  if (mscale_all_dim != nullptr) *mscale_all_dim = 0;
  DS_ASSIGN(r.theta, config.FloatOr("rope_theta", defaults.theta, 1.0, kMaxFloat));
  DS_ASSIGN(double partial, config.FloatOr("partial_rotary_factor", defaults.partial, kTiny, 1.0));
  DS_ASSIGN(const std::string key, RopeKey(config));
  if (!key.empty()) {
    DS_ASSIGN(const Config rope, config.Object(key));
    const auto nested = rope.ObjectKeys();
    if (!nested.empty()) {
      return rope.Expected(nested.front(),
                           "no object: one set of rope parameters for all layers is supported");
    }
    DS_ASSIGN(r.theta, rope.FloatOr("rope_theta", r.theta, 1.0, kMaxFloat));
    DS_ASSIGN(partial, rope.FloatOr("partial_rotary_factor", partial, kTiny, 1.0));
    DS_RETURN_IF_ERROR(ReadRopeScaling(config, rope, spec, mscale_all_dim));
  }
  if (partial != 1.0 && !defaults.partial_allowed) {
    return Fail("{}: key \"partial_rotary_factor\": expected 1 or nothing for this family, found {}",
                config.where(), partial);
  }
  r.dims = static_cast<int>(head_dims * partial);
  if (r.dims < 2 || r.dims % 2 != 0) {
    return Fail(
        "{}: rotary dimensions: expected an even number of at least 2, found {} ({} of each head's {})",
        config.where(), r.dims, partial, head_dims);
  }
  return {};
}

Status ReadWindow(const Config& config, WindowRule rule, ModelSpec* spec) {
  const bool qwen = rule == WindowRule::kQwen || rule == WindowRule::kQwenAll;
  DS_ASSIGN(const bool use, config.BoolOr("use_sliding_window", !qwen));
  DS_ASSIGN(const int64_t window, config.IntOr("sliding_window", 0, 0, std::numeric_limits<int32_t>::max()));
  const int64_t num_layers = spec->num_layers();
  // Hugging Face's default of max_window_layers is 28.
  DS_ASSIGN(const int64_t full_layers, config.IntOr("max_window_layers", 28, 0, kMaxSize));
  const bool on = window > 0 && (use || !qwen);
  for (int64_t i = 0; i < num_layers; ++i) {
    bool slides = on;
    if (rule == WindowRule::kQwen) slides = on && i >= full_layers;
    if (rule == WindowRule::kAlternating) slides = i % 2 == 0;
    spec->layers[static_cast<size_t>(i)].is_sliding = slides;
  }
  if (config.Has("layer_types")) DS_RETURN_IF_ERROR(ApplyLayerTypes(config, &spec->layers));
  const bool any = std::ranges::any_of(spec->layers, &LayerSpec::is_sliding);
  if (any && !on) {
    return config.Expected("sliding_window",
                           "a positive number (some layers are sliding), with use_sliding_window on");
  }
  spec->attention.sliding_window = any ? static_cast<int>(window) : 0;
  return {};
}

Result<int> ReadExpertCount(const Config& config, std::string_view key, std::string_view other_key) {
  const std::string_view found = config.Has(key) || !config.Has(other_key) ? key : other_key;
  DS_ASSIGN(const int count, config.Size(found));
  DS_ASSIGN(const int other, config.SizeOr(other_key, count));
  if (other != count) return config.Expected(other_key, fmt::format("the same as {} = {}", key, count));
  return count;
}

Status ReadQwenMoeLayers(const Config& config, ModelSpec* spec) {
  const int num_layers = spec->num_layers();
  DS_ASSIGN(const int step, config.SizeOr("decoder_sparse_step", 1));
  for (int i = 0; i < num_layers; ++i) spec->layers[static_cast<size_t>(i)].is_moe = (i + 1) % step == 0;
  DS_ASSIGN(const auto dense, config.IntsOrNone("mlp_only_layers", 0, num_layers - 1));
  for (const int64_t i : dense) spec->layers[static_cast<size_t>(i)].is_moe = false;
  if (!std::ranges::all_of(spec->layers, &LayerSpec::is_moe)) {
    DS_ASSIGN(spec->dense_width, config.Size("intermediate_size"));
  }
  return {};
}

Status ReadDeepSeekMoeLayers(const Config& config, int default_dense, ModelSpec* spec) {
  const int num_layers = spec->num_layers();
  DS_ASSIGN(const int64_t num_dense,
            config.IntOr("first_k_dense_replace", std::min(default_dense, num_layers), 0, num_layers));
  DS_ASSIGN(const int frequency, config.SizeOr("moe_layer_freq", 1));
  for (int i = 0; i < num_layers; ++i) {
    spec->layers[static_cast<size_t>(i)].is_moe = i >= num_dense && i % frequency == 0;
  }
  if (!std::ranges::all_of(spec->layers, &LayerSpec::is_moe)) {
    DS_ASSIGN(spec->dense_width, config.Size("intermediate_size"));
  }
  DS_ASSIGN(const int64_t num_mtp, config.IntOr("num_nextn_predict_layers", 0, 0, 64));
  spec->num_mtp_layers = static_cast<int>(num_mtp);
  spec->mtp_layer.is_moe = num_mtp > 0;
  return {};
}

Status ReadSharedExperts(const Config& config, ExpertSpec* expert) {
  DS_ASSIGN(const int64_t num_shared, config.IntOr("n_shared_experts", 0, 0, 4096));
  expert->num_shared = static_cast<int>(num_shared);
  if (num_shared * expert->width > kMaxSize) {
    return config.Expected("n_shared_experts", fmt::format("at most {} / moe_intermediate_size", kMaxSize));
  }
  expert->shared_width = expert->num_shared * expert->width;
  return {};
}

Status ReadGroups(const Config& config, RouterSpec* router) {
  DS_ASSIGN(const int groups, config.SizeOr("n_group", 1));
  DS_ASSIGN(const int kept, config.SizeOr("topk_group", 1));
  if (router->num_experts % groups != 0) {
    return config.Expected("n_group", fmt::format("a divisor of the {} experts", router->num_experts));
  }
  if (kept > groups) return config.Expected("topk_group", fmt::format("at most n_group = {}", groups));
  router->num_groups = kept == groups ? 1 : groups;
  router->top_groups = kept == groups ? 1 : kept;
  return {};
}

Status ReadSigmoidRouter(const Config& config, double default_scale, RouterSpec* router) {
  DS_ASSIGN(const std::string scoring, config.StringOr("scoring_func", "sigmoid"));
  if (scoring != "sigmoid") return config.Expected("scoring_func", "\"sigmoid\"");
  DS_ASSIGN(const std::string method, config.StringOr("topk_method", "noaux_tc"));
  if (method != "noaux_tc") return config.Expected("topk_method", "\"noaux_tc\"");
  DS_ASSIGN(router->num_experts, config.Size("n_routed_experts"));
  DS_ASSIGN(router->top_k, config.Size("num_experts_per_tok"));
  router->score = RouterScore::kSigmoid;
  router->has_selection_bias = true;
  router->group_score = GroupScore::kSumOfTopTwo;
  DS_RETURN_IF_ERROR(ReadGroups(config, router));
  DS_ASSIGN(router->normalise, config.BoolOr("norm_topk_prob", true));
  router->normalise_eps = router->normalise ? 1e-20 : 0.0;
  DS_ASSIGN(router->scale, config.FloatOr("routed_scaling_factor", default_scale, 0.0, kMaxFloat));
  return {};
}

}  // namespace deepshock
