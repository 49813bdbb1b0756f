// SPDX-License-Identifier: Apache-2.0
// What both kinds of attention share. Included by src/model/*.cc only.
#pragma once

#include <vector>

#include "kernels/attention_ops.h"
#include "model/forward.h"

namespace deepshock {

// How a layer's keys and values are stored.
KvLayout StateLayout(const AttentionSpec& attention, KvType type);

// The batch's rows by sequence, with each one's state of one layer.
std::vector<AttentionRows> SequencesOf(const Batch& batch, int state_layer);

// Rotates every row's heads: x [T, heads, ...], heads `head_stride` floats apart, rows of all heads dense.
void RotateHeads(ForwardContext& context, const Batch& batch, int64_t heads, int64_t head_stride, float* x);

// What multi-head latent attention does with its expansion weights (kv_b, or k_b and v_b). All uses of these
// weights are in attention_expansion.cc.

// One query head of every row into latent space: out [T, kv_rank + rope] = [W_UK^T q_nope | q_rope].
// q [T, heads * (nope + rope)].
void AbsorbQueries(Compute& compute, int thread, const AttentionSpec& a, const LayerWeights& w, int64_t head,
                   const float* q, int64_t num_tokens, float* out);

// One head's mixed latents [T, kv_rank] to values: out [T, heads * v_head_dim], this head's columns.
void ExpandMixed(Compute& compute, int thread, const AttentionSpec& a, const LayerWeights& w, int64_t head,
                 const float* mixed, int64_t num_tokens, float* out);

}  // namespace deepshock
