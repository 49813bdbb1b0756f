// SPDX-License-Identifier: Apache-2.0
// ModelSpec: an architecture as data. An architecture file (model/arch/*.cc) fills one from config.json or
// GGUF metadata; the blocks (attention.cc, moe.cc) read nothing else. Validated before anything is allocated.
// Symbols as in docs/notation.md: H hidden, L layers, E experts, K chosen, V vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace deepshock {

enum class RopeLayout { kInterleaved, kHalfSplit };  // pairs (2i, 2i+1), or (i, i + dims/2)
enum class RopeScaling { kNone, kLinear, kYarn, kLlama3 };

struct RopeSpec {
  RopeLayout layout = RopeLayout::kHalfSplit;
  int dims = 0;  // leading dimensions of a head that rotate; the rest pass through
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  int64_t original_context = 0;
  double beta_fast = 32.0;  // YaRN
  double beta_slow = 1.0;
  bool truncate = true;          // YaRN: floor and ceil the correction bounds
  double magnitude = 1.0;        // cos and sin are multiplied by this
  double low_freq_factor = 1.0;  // Llama 3
  double high_freq_factor = 4.0;
  std::vector<float>
      divisors;  // [dims/2] or empty: GGUF rope_freqs.weight, each frequency is divided by its entry
};

enum class AttentionKind { kGrouped, kLatent };  // grouped-query (multi-head when heads = kv_heads), MLA
enum class QkNorm {
  kNone,
  kPerHead,
  kWhole
};  // RMSNorm before rope: weight [head_dim], or over the projection

struct AttentionSpec {
  AttentionKind kind = AttentionKind::kGrouped;
  int num_heads = 0;
  int num_kv_heads = 0;  // kGrouped
  int head_dim = 0;      // of q and k; kLatent: nope_dim + rope_dim
  int v_head_dim = 0;
  QkNorm qk_norm = QkNorm::kNone;
  bool qkv_bias = false;
  bool output_bias = false;
  bool sinks = false;      // one logit a head joins the softmax and is dropped
  int sliding_window = 0;  // keys a sliding layer sees, itself included; 0: none
  double softmax_scale = 1.0;
  // kLatent only
  int q_lora_rank = 0;  // 0: q_proj is one matrix
  int kv_lora_rank = 0;
  int nope_dim = 0;
  int rope_dim = 0;
  double latent_norm_eps = 1e-6;  // of q_a_norm and kv_a_norm
};

enum class RouterScore { kSoftmax, kSoftmaxOfChosen, kSigmoid };
enum class GroupScore { kMax, kSumOfTopTwo };

struct RouterSpec {
  int num_experts = 0;  // E; 0: a dense model
  int top_k = 0;        // K
  RouterScore score = RouterScore::kSoftmax;
  bool has_logit_bias = false;      // added to the router's logits (gpt-oss)
  bool has_selection_bias = false;  // e_score_correction_bias: steers selection only
  int num_groups = 1;
  int top_groups = 1;
  GroupScore group_score = GroupScore::kMax;
  bool normalise = false;  // chosen weights divided by (sum + normalise_eps)
  double normalise_eps = 0;
  double scale = 1.0;  // then multiplied by this
};

enum class Activation { kSwiGlu, kClampedSwiGlu };

struct ExpertSpec {
  int width = 0;             // I of one routed expert
  int num_shared = 0;        // for display; the shared experts are one MLP of shared_width
  int shared_width = 0;      // 0: none
  bool shared_gate = false;  // shared output times sigmoid(gate . x) (Qwen2-MoE)
  bool bias = false;         // gate, up and down have biases (gpt-oss)
  Activation activation = Activation::kSwiGlu;
  double clamp_limit = 7.0;      // kClampedSwiGlu
  double sigmoid_scale = 1.702;  // kClampedSwiGlu
};

struct LayerSpec {
  bool is_moe = false;
  bool is_sliding = false;
};

struct ModelSpec {
  std::string architecture;  // registry name: "deepseek_v3"
  std::string name;          // what the checkpoint calls itself; may be empty
  int64_t vocab_size = 0;
  int hidden = 0;
  int dense_width = 0;     // I of a dense layer's MLP
  int num_mtp_layers = 0;  // layers declared after the last one; their weights may be absent
  int64_t context_length = 0;
  double norm_eps = 1e-6;
  bool tied_head = false;  // the output head is the embedding
  RopeSpec rope;
  AttentionSpec attention;
  RouterSpec router;
  ExpertSpec expert;
  std::vector<LayerSpec> layers;    // [L]; MTP layers not counted
  LayerSpec mtp_layer;              // what each MTP layer's decoder block is
  std::vector<int32_t> eos_tokens;  // from config.json or GGUF; generation stops at any of them
  int32_t bos_token = -1;           // -1: none

  int num_layers() const { return static_cast<int>(layers.size()); }
};

}  // namespace deepshock
