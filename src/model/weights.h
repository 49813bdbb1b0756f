// SPDX-License-Identifier: Apache-2.0
// The model's weights as views, and the one visitor that lists each of them once: loading, conversion,
// inspection and (later) training all go through VisitWeights. A weight's canonical name is its GGUF tensor
// name, as llama.cpp defines it; architecture files map it to the Hugging Face name.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "experts/expert_weights.h"
#include "model/spec.h"
#include "tensor/matrix.h"

namespace deepshock {

struct LayerWeights {
  Matrix attn_norm;  // [1, H]
  // Grouped-query
  Matrix q, k, v;                 // [heads * head_dim, H]
  Matrix q_bias, k_bias, v_bias;  // [1, rows of q, k, v]
  Matrix q_norm, k_norm;          // [1, head_dim] or [1, rows of q, k]
  Matrix sinks;                   // [1, num_heads]
  // MLA (q is used when q_lora_rank is 0)
  Matrix q_a, q_a_norm, q_b;  // [q_rank, H], [1, q_rank], [heads * (nope + rope), q_rank]
  Matrix kv_a, kv_a_norm;     // [kv_rank + rope, H], [1, kv_rank]
  Matrix kv_b;                // [heads * (nope + v), kv_rank]; absent where k_b and v_b are stored
  Matrix k_b;                 // [heads * kv_rank, nope]: llama.cpp's transposed key half of kv_b
  Matrix v_b;                 // [heads * v, kv_rank]
  Matrix output;              // [H, heads * v_head_dim]
  Matrix output_bias;         // [1, H]

  Matrix ffn_norm;                     // [1, H]
  ExpertWeights dense;                 // a dense layer's MLP
  Matrix router;                       // [E, H]
  Matrix router_bias;                  // [1, E] added to the logits
  Matrix selection_bias;               // [1, E] e_score_correction_bias
  std::vector<ExpertWeights> experts;  // [E]
  ExpertWeights shared;
  Matrix shared_gate;  // [1, H]
};

struct MtpWeights {
  Matrix embedding_norm, hidden_norm;  // [1, H]  enorm, hnorm
  Matrix projection;                   // [H, 2H] eh_proj, embedding half first
  Matrix embedding;                    // [V, H]; absent: the main model's
  Matrix head_norm;                    // [1, H]
  Matrix head;                         // [V, H]; absent: the main model's
  LayerWeights layer;
};

struct ModelWeights {
  Matrix embedding;                  // [V, H]
  Matrix output_norm;                // [1, H]
  Matrix head;                       // [V, H]; with a tied head it is the embedding
  std::vector<LayerWeights> layers;  // [L]
  std::vector<MtpWeights> mtp;       // empty when the checkpoint has none
  // What the views point into: mapped files, and the few tensors that had to be rearranged.
  std::vector<std::shared_ptr<const void>> storage;
};

// One weight as the spec declares it.
struct WeightDecl {
  std::string name;  // canonical, without "blk.N.": "attn_q.weight", "ffn_gate_exps.weight"
  int layer = -1;    // -1: global; from L on: the MTP layers
  int expert = -1;   // -1: not a routed expert's
  int64_t rows = 0;
  int64_t cols = 0;
  bool optional = false;   // may be absent; CheckWeights settles which combinations are whole
  bool is_vector = false;  // a norm weight or bias: stored with one dimension
};

// "blk.3.attn_q.weight", or "blk.3.ffn_gate_exps.weight of expert 7": how messages name a weight.
std::string Describe(const WeightDecl& decl);

// Containers of the right sizes, every matrix absent. num_mtp_layers <= spec.num_mtp_layers are to be loaded.
ModelWeights EmptyWeights(const ModelSpec& spec, int num_mtp_layers);

// Calls visit for each weight that the spec declares, in file order: global, then layer by layer, experts
// inside. Stops at the first error.
using WeightVisitor = std::function<Status(const WeightDecl&, Matrix&)>;
using ConstWeightVisitor = std::function<Status(const WeightDecl&, const Matrix&)>;
Status VisitWeights(const ModelSpec& spec, ModelWeights& weights, const WeightVisitor& visit);
Status VisitWeights(const ModelSpec& spec, const ModelWeights& weights, const ConstWeightVisitor& visit);

// What a loaded model is made of.
struct WeightTotals {
  int64_t parameters = 0;      // all, MTP layers included
  int64_t mtp_parameters = 0;  // of them in MTP layers
  int64_t active_parameters =
      0;                     // multiplied for one token: chosen experts, the head, one embedding row left out
  int64_t bytes = 0;         // stored, scales included
  int64_t expert_bytes = 0;  // of them routed experts
  int64_t active_bytes = 0;  // read for one token
};
WeightTotals CountWeights(const ModelSpec& spec, const ModelWeights& weights);

}  // namespace deepshock
