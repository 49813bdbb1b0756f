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

// One head's expansion weights in float32: keys [nope, kv_rank], values [v_head_dim, kv_rank].
void DecodeExpansion(Compute& compute, int thread, const AttentionSpec& a, const LayerWeights& w,
                     int64_t head, float* keys, float* values);

// Whether `num_rows` rows of a sequence after `num_kept` tokens cost less with keys and values expanded for
// this pass than in latent space. Depends on that sequence alone; never for the few rows that speculation
// checks.
bool WorthExpanding(const AttentionSpec& a, int64_t num_kept, int64_t num_rows);

// Attention of one sequence's rows with all its keys and values expanded: values [T, heads * v_head_dim] from
// q [T, heads * (nope + rope)], the sequence's rows of both.
void AttendExpanded(Compute& compute, const AttentionSpec& a, const LayerWeights& w, const KvLayout& latents,
                    const AttentionRows& rows, const float* q, float* values);

}  // namespace deepshock
