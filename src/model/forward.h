// SPDX-License-Identifier: Apache-2.0
// Inside of the forward pass: what its parts (attention_*.cc, ffn.cc) share. Included by src/model/*.cc only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "experts/executor.h"
#include "experts/store.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "model/rope.h"

namespace deepshock {

// Where one row of the batch belongs.
struct BatchRow {
  KvView* kv;
  int64_t position;
  size_t angles;  // index into Batch::angles
};

// The rows of all chunks, one after the other.
struct Batch {
  std::vector<BatchRow> rows;        // [T]
  std::vector<Rope::Angles> angles;  // one for each distinct position
  int64_t size() const { return static_cast<int64_t>(rows.size()); }
};

// Appends the rows [first_position, first_position + count) of one sequence.
void AddRows(const Rope& rope, KvView* kv, int64_t first_position, int64_t count, Batch* batch);

struct ForwardContext {
  Compute& compute;
  const ModelSpec& spec;
  const Rope& rope;
  ExpertExecutor& executor;
  ForwardObserver* observer;  // may be null
  ExpertStore* store;         // null: routed experts are computed from LayerWeights
  std::span<const RoutingControl* const> controls = {};  // [T], null for rows without; or empty: none has one
  // Of the main model, so that a layer can guess what the next one's router will choose; null: no guesses.
  const std::vector<LayerWeights>* layers = nullptr;
};

// x [T, H] -> out [T, H]. `state_layer` indexes KvView::layers; each row's state entry is written, then read.
void GroupedAttention(ForwardContext& context, const LayerWeights& w, const LayerSpec& layer, int state_layer,
                      const Batch& batch, const float* x, float* out);
void LatentAttention(ForwardContext& context, const LayerWeights& w, int state_layer, const Batch& batch,
                     const float* x, float* out);

// x [T, H] -> out [T, H]: the dense MLP or the mixture. Fails when the store does.
Status FeedForward(ForwardContext& context, const LayerWeights& w, const LayerSpec& layer, int layer_index,
                   int64_t num_tokens, const float* x, float* out);

// One decoder layer in place: x [T, H] += attention(norm(x)), x += ffn(norm(x)). Fails when the store does.
Status DecoderLayer(ForwardContext& context, const LayerWeights& w, const LayerSpec& layer, int layer_index,
                    const Batch& batch, float* x);

}  // namespace deepshock
