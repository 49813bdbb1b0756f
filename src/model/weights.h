// SPDX-License-Identifier: Apache-2.0
// The model's weights as views, and the one visitor that lists each of them once: loading, conversion, inspection
// and (later) training all go through VisitWeights. A weight's canonical name is its GGUF tensor name, as
// llama.cpp defines it; architecture files map it to the Hugging Face name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/spec.h"
#include "tensor/matrix.h"

namespace deepshock {

struct ExpertWeights {
  Matrix gate, up;                 // [I, H]
  Matrix down;                     // [H, I]
  Matrix gate_bias, up_bias;       // [1, I]
  Matrix down_bias;                // [1, H]
};

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
  std::vector<Matrix> k_b;    // [heads] of [kv_rank, nope]: llama.cpp's transposed key half
  std::vector<Matrix> v_b;    // [heads] of [v, kv_rank]
  Matrix output;              // [H, heads * v_head_dim]
  Matrix output_bias;         // [1, H]

  Matrix ffn_norm;  // [1, H]
  ExpertWeights dense;  // a dense layer's MLP
  Matrix router;            // [E, H]
  Matrix router_bias;       // [1, E] added to the logits
  Matrix selection_bias;    // [1, E] e_score_correction_bias
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
  Matrix embedding;    // [V, H]
  Matrix output_norm;  // [1, H]
  Matrix head;         // [V, H]; with a tied head it is the embedding
  std::vector<LayerWeights> layers;  // [L]
  std::vector<MtpWeights> mtp;       // empty when the checkpoint has none
  // What the views point into: mapped files, and the few tensors that had to be rearranged.
  std::vector<std::shared_ptr<const void>> storage;
};

}  // namespace deepshock
