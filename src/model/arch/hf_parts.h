// SPDX-License-Identifier: Apache-2.0
// What the families' from_config functions share: each reads one part of config.json, in the older form
// (rope_theta, rope_scaling {type}) and in that of transformers 5 (rope_parameters).
#pragma once

#include <string_view>

#include "base/result.h"
#include "model/arch/config.h"
#include "model/spec.h"

namespace deepshock {

// YaRN's magnitude m(f, a) = 0.1 a ln f + 1, and 1 for f <= 1 (arXiv 2309.00071 section 3.4; `a` is
// DeepSeek's).
double YarnMagnitude(double factor, double a);
double PlainSoftmaxScale(int head_dim);  // head_dim^-0.5

// Sizes, norm epsilon, head, special tokens; refuses activations and quantisations that nothing here
// computes. Fills `layers` with dense, full-attention layers.
Status ReadModel(const Config& config, double default_eps, ModelSpec* spec);

// Heads, head_dim, softmax scale.
Status ReadGroupedAttention(const Config& config, ModelSpec* spec);
// attention_bias (or whatever `key` is): biases of q, k, v, and of the output too where the family has one.
Status ReadAttentionBias(const Config& config, std::string_view key, bool fallback, bool with_output,
                         AttentionSpec* attention);

struct RopeDefaults {
  double theta = 10000.0;
  double partial = 1.0;  // partial_rotary_factor where absent
  bool partial_allowed = false;
};
// Everything but `layout`. `head_dims` is what rotates when nothing is partial. `mscale_all_dim`, where asked
// for, is YaRN's, or 0.
Status ReadRope(const Config& config, const RopeDefaults& defaults, int head_dims, ModelSpec* spec,
                double* mscale_all_dim = nullptr);

enum class WindowRule {
  kAll,          // sliding_window set: every layer slides (Mistral, Mixtral)
  kQwen,         // use_sliding_window; layers from max_window_layers on slide
  kQwenAll,      // use_sliding_window; every layer slides (Qwen3-MoE)
  kAlternating,  // layers 0, 2, 4, ... slide (gpt-oss)
};
// `layer_types`, where present, overrides the rule.
Status ReadWindow(const Config& config, WindowRule rule, ModelSpec* spec);

// The number of routed experts under the first key present; several keys must agree.
Result<int> ReadExpertCount(const Config& config, std::string_view key, std::string_view other_key);
// Marks MoE layers as Qwen does: mlp_only_layers, decoder_sparse_step. Dense layers need intermediate_size.
Status ReadQwenMoeLayers(const Config& config, ModelSpec* spec);
// first_k_dense_replace (with `default_dense` where absent), moe_layer_freq; then the MTP layers.
Status ReadDeepSeekMoeLayers(const Config& config, int default_dense, ModelSpec* spec);
// n_shared_experts: one ungated MLP of their summed width.
Status ReadSharedExperts(const Config& config, ExpertSpec* expert);
// Sigmoid scores, selection bias, groups scored by their two best: DeepSeek-V3 and GLM-4.5.
Status ReadSigmoidRouter(const Config& config, double default_scale, RouterSpec* router);
// n_group and topk_group. Keeping all groups is the same as having one, and is stored so.
Status ReadGroups(const Config& config, RouterSpec* router);

}  // namespace deepshock
