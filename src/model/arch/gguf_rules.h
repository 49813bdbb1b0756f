// SPDX-License-Identifier: Apache-2.0
// What a reader of GGUF concludes where no key tells. gguf_read.cc applies these, gguf_write.cc asks them
// which `deepshock.*` keys a model needs: one definition for both.
#pragma once

#include "model/arch/hf_parts.h"
#include "model/registry.h"

namespace deepshock {

constexpr const char* kKeyMagnitude = "deepshock.rope.magnitude";              // f64
constexpr const char* kKeyTruncate = "deepshock.rope.yarn_truncate";           // bool
constexpr const char* kKeySoftmaxScale = "deepshock.attention.softmax_scale";  // f64
constexpr const char* kKeyMoeLayers = "deepshock.moe_layers";                  // i32[L], 0 or 1
constexpr const char* kKeyEosTokens = "deepshock.eos_token_ids";               // i32[]
constexpr const char* kKeyBosToken = "deepshock.bos_token_id";                 // u32
constexpr const char* kKeyClampLimit = "deepshock.expert_clamp_limit";         // f64

struct YarnEffect {
  double magnitude = 1.0;
  double softmax_factor = 1.0;
};

// `mscale_all_dim` 0: none. DeepSeek's checkpoints set mscale to the same, so the ratio on cos and sin is 1.
inline YarnEffect AssumedYarn(const RopeSpec& rope, double mscale_all_dim) {
  if (rope.scaling != RopeScaling::kYarn) return {};
  const double m = YarnMagnitude(rope.factor, mscale_all_dim);
  if (mscale_all_dim > 0) return {1.0, m * m};
  return {YarnMagnitude(rope.factor, 1.0), 1.0};
}

// yarn_log_multiplier of deepseek2 is 0.1 mscale_all_dim (llama.cpp, TAG_DEEPSEEK2_YARN_LOG_MUL_FIX).
inline float LogMultiplier(double mscale_all_dim) { return static_cast<float>(0.1 * mscale_all_dim); }

inline bool AssumedSliding(const GgufTraits& traits, size_t layer) {
  return !traits.alternating_window || layer % 2 == 0;
}

}  // namespace deepshock
