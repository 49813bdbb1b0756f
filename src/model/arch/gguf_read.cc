// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <variant>

#include "model/arch/gguf_parts.h"
#include "model/arch/gguf_rules.h"

namespace deepshock {
namespace {

constexpr double kMaxFloat = 1e12;
constexpr double kTiny = 1e-12;

Status CheckRange(const GgufFile& file, const std::string& key, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return {};
  return Fail("{}: key \"{}\": expected an integer from {} to {}, found {}", file.path(), key, min, max,
              value);
}

// A double that was stored as one: read as it is.
Result<double> ExactOr(const GgufFile& file, const char* key, double fallback, double min, double max) {
  if (!file.Has(key)) return fallback;
  DS_ASSIGN(const double value, file.GetFloat(key));
  if (!(value >= min && value <= max)) {
    return Fail("{}: key \"{}\": expected a number from {} to {}, found {}", file.path(), key, min, max,
                value);
  }
  return value;
}

// One number, 0 or 1, a layer. `count` are used; more may be stored (MTP layers).
Result<std::vector<int64_t>> LayerFlags(const GgufFile& file, const std::string& key, size_t count) {
  DS_ASSIGN(auto flags, file.GetInts(key));
  if (flags.size() < count) {
    return Fail("{}: key \"{}\": expected {} numbers, one a layer, found {}", file.path(), key, count,
                flags.size());
  }
  for (const int64_t flag : flags) DS_RETURN_IF_ERROR(CheckRange(file, key, flag, 0, 1));
  return flags;
}

bool IsArray(const GgufFile& file, const std::string& key) {
  const auto it = file.metadata().find(key);
  return it != file.metadata().end() && std::holds_alternative<GgufArray>(it->second);
}

Result<int64_t> ReadVocabSize(const GgufKeys& keys) {
  const GgufFile& file = keys.file();
  if (keys.Has("vocab_size")) return keys.Int("vocab_size", 1, kMaxVocab);
  const StoredTensor* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr || embedding->dims.empty()) {
    return Fail("{}: expected key \"{}\" or tensor \"token_embd.weight\", found neither", file.path(),
                keys.Key("vocab_size"));
  }
  DS_RETURN_IF_ERROR(CheckRange(file, "token_embd.weight rows", embedding->dims[0], 1, kMaxVocab));
  return embedding->dims[0];
}

Status ReadSpecialTokens(const GgufFile& file, ModelSpec* spec) {
  const auto read = [&](const char* key) -> Result<int32_t> {
    if (!file.Has(key)) return -1;
    DS_ASSIGN(const int64_t id, file.GetInt(key));
    // llama.cpp and its converter write -1 or 2^32 - 1 for "none".
    if (id == -1 || id == std::numeric_limits<uint32_t>::max()) return -1;
    DS_RETURN_IF_ERROR(CheckRange(file, key, id, 0, spec->vocab_size - 1));
    return static_cast<int32_t>(id);
  };
  if (file.Has(kKeyEosTokens)) {
    DS_ASSIGN(const auto ids, file.GetInts(kKeyEosTokens));
    DS_RETURN_IF_ERROR(
        CheckRange(file, std::string(kKeyEosTokens) + " (count)", static_cast<int64_t>(ids.size()), 1, 1024));
    for (const int64_t id : ids) {
      DS_RETURN_IF_ERROR(CheckRange(file, kKeyEosTokens, id, 0, spec->vocab_size - 1));
      spec->eos_tokens.push_back(static_cast<int32_t>(id));
    }
  } else {
    for (const char* key :
         {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
      DS_ASSIGN(const int32_t id, read(key));
      if (id >= 0 && std::ranges::find(spec->eos_tokens, id) == spec->eos_tokens.end())
        spec->eos_tokens.push_back(id);
    }
  }
  DS_ASSIGN(spec->bos_token, read(file.Has(kKeyBosToken) ? kKeyBosToken : "tokenizer.ggml.bos_token_id"));
  return {};
}

// Llama 3's scaling, as its divisors.
Status ReadRopeFreqs(const GgufFile& file, RopeSpec* rope) {
  const StoredTensor* tensor = file.FindTensor("rope_freqs.weight");
  if (tensor == nullptr) return {};
  if (tensor->dims != std::vector<int64_t>{rope->dims / 2} || tensor->dtype != DType::kF32) {
    return Fail("{}: tensor \"rope_freqs.weight\": expected {} F32 numbers, found another shape or type",
                file.path(), rope->dims / 2);
  }
  rope->divisors.resize(static_cast<size_t>(rope->dims / 2));
  std::memcpy(rope->divisors.data(), tensor->data, rope->divisors.size() * sizeof(float));
  for (const float divisor : rope->divisors) {
    if (!(divisor > 0 && std::isfinite(divisor))) {
      return Fail("{}: tensor \"rope_freqs.weight\": expected positive numbers, found {}", file.path(),
                  divisor);
    }
  }
  return {};
}

Status ReadYarn(const GgufKeys& keys, const GgufTraits& traits, ModelSpec* spec) {
  RopeSpec& r = spec->rope;
  r.scaling = RopeScaling::kYarn;
  DS_ASSIGN(r.original_context,
            keys.IntOr("rope.scaling.original_context_length", spec->context_length, 1, kMaxContext));
  DS_ASSIGN(r.beta_fast, keys.FloatOr("rope.scaling.yarn_beta_fast", 32.0, kTiny, kMaxFloat));
  DS_ASSIGN(r.beta_slow, keys.FloatOr("rope.scaling.yarn_beta_slow", 1.0, kTiny, kMaxFloat));
  r.truncate = traits.yarn_truncate;
  if (keys.file().Has(kKeyTruncate)) {
    DS_ASSIGN(r.truncate, keys.file().GetBool(kKeyTruncate));
  }
  DS_ASSIGN(double log_multiplier, keys.FloatOr("rope.scaling.yarn_log_multiplier", 0.0, 0.0, kMaxFloat));
  const bool latent = spec->attention.kind == AttentionKind::kLatent;
  const double all_dim = latent ? ShortestDecimal(static_cast<float>(log_multiplier * 10)) : 0.0;
  const YarnEffect effect = AssumedYarn(r, all_dim);
  // Two keys for one thing: attn_factor multiplies what YaRN itself gives, yarn_attn_factor (transformers'
  // attention_factor, which llama.cpp's converter copies) replaces it.
  DS_ASSIGN(const double attn_factor, keys.FloatOr("rope.scaling.attn_factor", 1.0, kTiny, kMaxFloat));
  DS_ASSIGN(r.magnitude,
            keys.FloatOr("rope.scaling.yarn_attn_factor", effect.magnitude * attn_factor, kTiny, kMaxFloat));
  spec->attention.softmax_scale *= effect.softmax_factor;
  return {};
}

}  // namespace

double ShortestDecimal(float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); }

Status GgufKeys::Expected(std::string_view suffix, std::string_view expected, std::string_view found) const {
  return Fail("{}: key \"{}\": expected {}, found {}", file_.path(), Key(suffix), expected, found);
}

Result<int64_t> GgufKeys::Int(std::string_view suffix, int64_t min, int64_t max) const {
  const std::string key = Key(suffix);
  int64_t value = 0;
  if (IsArray(file_, key)) {
    DS_ASSIGN(const auto values, file_.GetInts(key));
    if (values.empty()) return Expected(suffix, "an integer", "an empty array");
    value = values.front();
    const auto other = std::ranges::find_if(values, [&](int64_t v) { return v != value; });
    if (other != values.end()) {
      return Expected(suffix, "the same number for every layer", fmt::format("{} and {}", value, *other));
    }
  } else {
    DS_ASSIGN(value, file_.GetInt(key));
  }
  DS_RETURN_IF_ERROR(CheckRange(file_, key, value, min, max));
  return value;
}

Result<int64_t> GgufKeys::IntOr(std::string_view suffix, int64_t fallback, int64_t min, int64_t max) const {
  if (!Has(suffix)) return fallback;
  return Int(suffix, min, max);
}

Result<int> GgufKeys::Size(std::string_view suffix) const {
  DS_ASSIGN(const int64_t value, Int(suffix, 1, kMaxSize));
  return static_cast<int>(value);
}

Result<double> GgufKeys::FloatOr(std::string_view suffix, double fallback, double min, double max) const {
  const std::string key = Key(suffix);
  if (!file_.Has(key)) return fallback;
  DS_ASSIGN(const double stored, file_.GetFloat(key));
  if (!(stored >= min && stored <= max)) {
    return Expected(suffix, fmt::format("a number from {} to {}", min, max), fmt::format("{}", stored));
  }
  const auto single = static_cast<float>(stored);
  return static_cast<double>(single) == stored ? ShortestDecimal(single) : stored;
}

Result<bool> GgufKeys::BoolOr(std::string_view suffix, bool fallback) const {
  if (!Has(suffix)) return fallback;
  return file_.GetBool(Key(suffix));
}

Status ReadGgufModel(const GgufKeys& keys, std::string_view architecture, ModelSpec* spec) {
  const GgufFile& file = keys.file();
  spec->architecture = architecture;
  if (file.Has("general.name")) {
    DS_ASSIGN(spec->name, file.GetString("general.name"));
  }
  DS_ASSIGN(spec->vocab_size, ReadVocabSize(keys));
  DS_ASSIGN(spec->hidden, keys.Size("embedding_length"));
  DS_ASSIGN(spec->context_length, keys.Int("context_length", 1, kMaxContext));
  DS_ASSIGN(const int64_t num_blocks, keys.Int("block_count", 1, kMaxLayers));
  DS_ASSIGN(const int64_t num_mtp,
            keys.IntOr("nextn_predict_layers", 0, 0, std::min<int64_t>(64, num_blocks - 1)));
  spec->num_mtp_layers = static_cast<int>(num_mtp);
  spec->layers.resize(static_cast<size_t>(num_blocks - num_mtp));
  if (!keys.Has("attention.layer_norm_rms_epsilon")) {
    return keys.Expected("attention.layer_norm_rms_epsilon", "a number", "nothing");
  }
  DS_ASSIGN(spec->norm_eps, keys.FloatOr("attention.layer_norm_rms_epsilon", 0.0, 0.0, 1.0));
  spec->tied_head = file.FindTensor("output.weight") == nullptr;
  return ReadSpecialTokens(file, spec);
}

Status ReadGgufGroupedAttention(const GgufKeys& keys, ModelSpec* spec) {
  AttentionSpec& a = spec->attention;
  a.kind = AttentionKind::kGrouped;
  DS_ASSIGN(a.num_heads, keys.Size("attention.head_count"));
  DS_ASSIGN(const int64_t kv_heads, keys.IntOr("attention.head_count_kv", a.num_heads, 1, kMaxSize));
  a.num_kv_heads = static_cast<int>(kv_heads);
  if (!keys.Has("attention.key_length") && spec->hidden % a.num_heads != 0) {
    return keys.Expected("attention.head_count",
                         fmt::format("a divisor of the embedding length {}", spec->hidden),
                         fmt::format("{}", a.num_heads));
  }
  const int by_default = spec->hidden / a.num_heads;
  DS_ASSIGN(const int64_t head_dim, keys.IntOr("attention.key_length", by_default, 1, kMaxSize));
  DS_ASSIGN(const int64_t v_head_dim, keys.IntOr("attention.value_length", by_default, 1, kMaxSize));
  a.head_dim = static_cast<int>(head_dim);
  a.v_head_dim = static_cast<int>(v_head_dim);
  a.softmax_scale = PlainSoftmaxScale(a.head_dim);
  a.qkv_bias = keys.file().FindTensor("blk.0.attn_q.bias") != nullptr;
  a.output_bias = keys.file().FindTensor("blk.0.attn_output.bias") != nullptr;
  return {};
}

Status ReadGgufRope(const GgufKeys& keys, const GgufTraits& traits, int head_dims, ModelSpec* spec) {
  RopeSpec& r = spec->rope;
  r.layout = traits.layout;
  DS_ASSIGN(const int64_t dims, keys.IntOr("rope.dimension_count", head_dims, 2, kMaxSize));
  r.dims = static_cast<int>(dims);
  DS_ASSIGN(r.theta, keys.FloatOr("rope.freq_base", 10000.0, 1.0, kMaxFloat));
  // llama.cpp: without a type the scaling is linear; a factor of 0 means none.
  DS_ASSIGN(const double old_factor, keys.FloatOr("rope.scale_linear", 1.0, 0.0, kMaxFloat));
  DS_ASSIGN(const double factor, keys.FloatOr("rope.scaling.factor", old_factor, 0.0, kMaxFloat));
  std::string type = "linear";
  if (keys.Has("rope.scaling.type")) {
    DS_ASSIGN(type, keys.file().GetString(keys.Key("rope.scaling.type")));
  }
  if (type == "yarn") {
    r.factor = factor == 0.0 ? 1.0 : factor;
    DS_RETURN_IF_ERROR(ReadYarn(keys, traits, spec));
  } else if (type == "linear") {
    if (factor != 0.0 && factor != 1.0) {
      r.scaling = RopeScaling::kLinear;
      r.factor = factor;
    }
  } else if (type != "none") {
    return keys.Expected("rope.scaling.type", "\"none\", \"linear\" or \"yarn\"",
                         "\"" + type.substr(0, 60) + "\"");
  }
  if (traits.rope_freqs) DS_RETURN_IF_ERROR(ReadRopeFreqs(keys.file(), &r));
  DS_ASSIGN(r.magnitude, ExactOr(keys.file(), kKeyMagnitude, r.magnitude, kTiny, kMaxFloat));
  DS_ASSIGN(spec->attention.softmax_scale,
            ExactOr(keys.file(), kKeySoftmaxScale, spec->attention.softmax_scale, kTiny, kMaxFloat));
  return {};
}

Status ReadGgufWindow(const GgufKeys& keys, const GgufTraits& traits, ModelSpec* spec) {
  DS_ASSIGN(const int64_t window,
            keys.IntOr("attention.sliding_window", 0, 0, std::numeric_limits<int32_t>::max()));
  if (window == 0) return {};
  constexpr const char* kPattern = "attention.sliding_window_pattern";
  std::vector<int64_t> flags;
  if (keys.Has(kPattern)) {
    DS_ASSIGN(flags, LayerFlags(keys.file(), keys.Key(kPattern), spec->layers.size()));
  }
  bool any = false;
  for (size_t i = 0; i < spec->layers.size(); ++i) {
    const bool slides = flags.empty() ? AssumedSliding(traits, i) : flags[i] == 1;
    spec->layers[i].is_sliding = slides;
    any = any || slides;
  }
  if (any) spec->attention.sliding_window = static_cast<int>(window);
  return {};
}

Status CheckGating(const GgufKeys& keys, int64_t expected, int64_t also) {
  DS_ASSIGN(const int64_t gating, keys.IntOr("expert_gating_func", expected, 0, 1000));
  if (gating == expected || gating == also) return {};
  return keys.Expected("expert_gating_func", fmt::format("{}", expected), fmt::format("{}", gating));
}

Status ReadGgufExperts(const GgufKeys& keys, const GgufTraits& traits, ModelSpec* spec) {
  RouterSpec& r = spec->router;
  DS_ASSIGN(r.num_experts, keys.Size("expert_count"));
  DS_ASSIGN(r.top_k, keys.Size("expert_used_count"));
  DS_ASSIGN(const int64_t groups, keys.IntOr("expert_group_count", 1, 0, kMaxSize));
  DS_ASSIGN(const int64_t kept, keys.IntOr("expert_group_used_count", 1, 0, kMaxSize));
  if (groups > 1 && groups != kept) {
    r.num_groups = static_cast<int>(groups);
    r.top_groups = static_cast<int>(kept);
  }
  DS_ASSIGN(r.normalise, keys.BoolOr("expert_weights_norm", traits.normalise));
  if (r.normalise && r.score == RouterScore::kSigmoid) r.normalise_eps = 1e-20;
  DS_ASSIGN(const double scale, keys.FloatOr("expert_weights_scale", 0.0, 0.0, kMaxFloat));
  r.scale = scale == 0.0 ? 1.0 : scale;  // llama.cpp: 0 means 1
  const char* width_key =
      traits.experts_use_dense_width ? "feed_forward_length" : "expert_feed_forward_length";
  DS_ASSIGN(spec->expert.width, keys.Size(width_key));
  if (spec->expert.activation == Activation::kClampedSwiGlu) {
    DS_ASSIGN(spec->expert.clamp_limit,
              ExactOr(keys.file(), kKeyClampLimit, spec->expert.clamp_limit, kTiny, kMaxFloat));
  }
  return {};
}

Status ReadGgufLayers(const GgufKeys& keys, const GgufTraits& traits, ModelSpec* spec) {
  const auto num_layers = static_cast<int64_t>(spec->layers.size());
  std::vector<int64_t> flags;
  if (keys.file().Has(kKeyMoeLayers)) {
    DS_ASSIGN(flags, LayerFlags(keys.file(), kKeyMoeLayers, spec->layers.size()));
  }
  int64_t num_dense = 0;
  if (traits.leading_dense) {
    DS_ASSIGN(num_dense, keys.IntOr("leading_dense_block_count", 0, 0, num_layers));
  }
  bool any_dense = false;
  for (int64_t i = 0; i < num_layers; ++i) {
    const auto at = static_cast<size_t>(i);
    spec->layers[at].is_moe = flags.empty() ? i >= num_dense : flags[at] == 1;
    any_dense = any_dense || !spec->layers[at].is_moe;
  }
  if (any_dense) {
    DS_ASSIGN(spec->dense_width, keys.Size("feed_forward_length"));
  }
  spec->mtp_layer.is_moe = spec->num_mtp_layers > 0;
  return {};
}

}  // namespace deepshock
