// SPDX-License-Identifier: Apache-2.0
// Feed-forward blocks: route, group tokens by expert, let the executor compute, combine. A dense MLP is one
// expert with every token in its batch.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "model/forward.h"
#include "model/router.h"

namespace deepshock {
namespace {

ExpertActivation ActivationOf(const ExpertSpec& spec) {
  ExpertActivation activation;
  activation.clamped = spec.activation == Activation::kClampedSwiGlu;
  activation.clamp_limit = static_cast<float>(spec.clamp_limit);
  activation.sigmoid_scale = static_cast<float>(spec.sigmoid_scale);
  return activation;
}

// All tokens through one MLP, their results from slot `first_slot` on.
ExpertBatch AllTokens(const ExpertWeights& w, int64_t num_tokens, int64_t first_slot) {
  ExpertBatch all;
  all.weights = &w;
  all.rows.resize(static_cast<size_t>(num_tokens));
  std::iota(all.rows.begin(), all.rows.end(), 0);
  all.slots.resize(static_cast<size_t>(num_tokens));
  std::iota(all.slots.begin(), all.slots.end(), static_cast<int32_t>(first_slot));
  return all;
}

struct Routing {
  std::vector<float> logits;           // [T, E]
  std::vector<int32_t> experts;        // [T, K]; -1: left out
  std::vector<float> weights;          // [T, K]
  std::vector<RoutingChange> changes;  // [T], or empty where no row is controlled
};

Routing Route(ForwardContext& context, const LayerWeights& w, int layer_index, Activations& x) {
  const RouterSpec& spec = context.spec.router;
  const auto num_experts = static_cast<size_t>(spec.num_experts), k = static_cast<size_t>(spec.top_k);
  const auto tokens = static_cast<size_t>(x.num_rows());
  Routing r;
  r.logits.resize(tokens * num_experts);
  r.experts.resize(tokens * k);
  r.weights.resize(tokens * k);
  MatMul(context.compute, w.router, w.router_bias, x, r.logits.data());
  const std::vector<float> bias = w.selection_bias ? DecodeVector(w.selection_bias) : std::vector<float>();
  if (!context.controls.empty()) r.changes.resize(tokens);
  for (size_t t = 0; t < tokens; ++t) {
    const auto logits = std::span(r.logits).subspan(t * num_experts, num_experts);
    const auto experts = std::span(r.experts).subspan(t * k, k);
    const auto weights = std::span(r.weights).subspan(t * k, k);
    const RoutingControl* control = context.controls.empty() ? nullptr : context.controls[t];
    if (control == nullptr) {
      RouteToken(spec, logits, bias, experts, weights);
      continue;
    }
    const auto layer = static_cast<size_t>(layer_index);
    r.changes[t] =
        RouteToken(spec, *control, layer < control->layers.size() ? &control->layers[layer] : nullptr, logits,
                   bias, experts, weights);
  }
  return r;
}

// Slot t * K + i holds token t's result from its i-th chosen expert.
std::vector<ExpertBatch> GroupByExpert(const LayerWeights& w, const Routing& routing, size_t k) {
  std::vector<ExpertBatch> by_expert(w.experts.size());
  for (size_t slot = 0; slot < routing.experts.size(); ++slot) {
    if (routing.experts[slot] < 0) continue;
    ExpertBatch& batch = by_expert[static_cast<size_t>(routing.experts[slot])];
    batch.rows.push_back(static_cast<int32_t>(slot / k));
    batch.slots.push_back(static_cast<int32_t>(slot));
  }
  std::vector<ExpertBatch> batches;
  for (size_t e = 0; e < by_expert.size(); ++e) {
    if (by_expert[e].rows.empty()) continue;
    by_expert[e].weights = &w.experts[e];
    batches.push_back(std::move(by_expert[e]));
  }
  return batches;
}

// How much of the shared expert each token takes: [T], 1 without a gate.
std::vector<float> SharedGates(ForwardContext& context, const LayerWeights& w, Activations& x) {
  std::vector<float> gates(static_cast<size_t>(x.num_rows()), 1.0f);
  if (!w.shared_gate) return gates;
  MatMul(context.compute, w.shared_gate, {}, x, gates.data());
  for (float& g : gates) g = 1.0f / (1.0f + std::exp(-g));
  return gates;
}

// out[t] = sum over i of weights[t, i] y[t K + i] but for those left out, then + gate[t] y[T K + t] of the
// shared expert. In this order whatever is in the batch.
void Combine(Compute& compute, const Routing& routing, int64_t k, const std::vector<float>& shared_gates,
             int64_t num_tokens, int64_t hidden, const float* y, float* out) {
  constexpr int64_t kMinTaskFloats = 1 << 14;
  const int64_t grain = std::max<int64_t>(1, kMinTaskFloats / ((k + 1) * hidden));
  compute.pool->ParallelFor(num_tokens, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float* sum = out + t * hidden;
      std::fill_n(sum, hidden, 0.0f);
      for (int64_t slot = t * k; slot < (t + 1) * k; ++slot) {
        if (routing.experts[static_cast<size_t>(slot)] < 0) continue;  // nobody wrote its y
        compute.kernels->axpy(routing.weights[static_cast<size_t>(slot)], y + slot * hidden, sum, hidden);
      }
      if (shared_gates.empty()) continue;
      const float* shared = y + (num_tokens * k + t) * hidden;
      compute.kernels->axpy(shared_gates[static_cast<size_t>(t)], shared, sum, hidden);
    }
  });
}

// The next layer's router on the state that this layer's experts work on: a guess at what it will choose,
// good since a layer changes the state little. Hands it to the store, the experts that most rows chose first.
void HintNextLayer(ForwardContext& context, int layer_index, Activations& x) {
  const auto next = static_cast<size_t>(layer_index) + 1;
  if (context.layers == nullptr || next >= context.layers->size() ||
      !context.store->HasLayer(static_cast<int>(next)) || !context.store->WantsHints(x.num_rows())) {
    return;
  }
  const Routing guess = Route(context, (*context.layers)[next], static_cast<int>(next), x);
  std::vector<int32_t> rows(static_cast<size_t>(context.spec.router.num_experts), 0), experts;
  for (const int32_t expert : guess.experts) {
    if (expert >= 0 && rows[static_cast<size_t>(expert)]++ == 0) experts.push_back(expert);
  }
  std::stable_sort(experts.begin(), experts.end(), [&](int32_t a, int32_t b) {
    return rows[static_cast<size_t>(a)] > rows[static_cast<size_t>(b)];
  });
  context.store->Prefetch(static_cast<int>(next), experts);
}

// Computes the batches of routed experts, and what the shared expert has to do (may be null) with the first
// of them. Where a store brings the weights, in the order in which it does: a batch's results do not depend
// on what is computed beside it.
Status RunExperts(ForwardContext& context, const LayerWeights& w, int layer_index,
                  std::vector<ExpertBatch> batches, const ExpertBatch* shared, Activations& x, float* y) {
  const ExpertActivation activation = ActivationOf(context.spec.expert);
  if (batches.empty() || context.store == nullptr || !context.store->HasLayer(layer_index)) {
    if (shared != nullptr) batches.push_back(*shared);
    context.executor.Run(context.compute, activation, batches, x, y);
    return {};
  }
  std::vector<ExpertUse> uses;  // ascending, as the batches are
  for (const ExpertBatch& batch : batches) {
    uses.push_back(
        {static_cast<int32_t>(batch.weights - w.experts.data()), static_cast<int32_t>(batch.rows.size())});
  }
  bool hinted = false;
  return context.store->Use(layer_index, x.num_rows(), uses, [&](std::span<const LeasedExpert> leased) {
    // This layer's own reads are under way by now.
    if (!std::exchange(hinted, true)) HintNextLayer(context, layer_index, x);
    std::vector<ExpertBatch> ready;
    for (const LeasedExpert& lease : leased) {
      const auto use = std::lower_bound(uses.begin(), uses.end(), lease.expert,
                                        [](const ExpertUse& u, int32_t expert) { return u.expert < expert; });
      ready.push_back(std::move(batches[static_cast<size_t>(use - uses.begin())]));
      ready.back().weights = lease.weights;
    }
    if (shared != nullptr) ready.push_back(*std::exchange(shared, nullptr));
    context.executor.Run(context.compute, activation, ready, x, y);
  });
}

Status Mixture(ForwardContext& context, const LayerWeights& w, int layer_index, Activations& x, float* out) {
  const int64_t k = context.spec.router.top_k, hidden = context.spec.hidden, num_tokens = x.num_rows();
  const Routing routing = Route(context, w, layer_index, x);
  if (context.observer != nullptr) {
    context.observer->OnRouting({layer_index, num_tokens, context.spec.router.top_k, routing.logits,
                                 routing.experts, routing.weights, routing.changes});
  }
  std::vector<ExpertBatch> batches = GroupByExpert(w, routing, static_cast<size_t>(k));
  std::vector<float> shared_gates;
  ExpertBatch shared;
  if (w.shared.gate) {
    shared = AllTokens(w.shared, num_tokens, num_tokens * k);
    shared_gates = SharedGates(context, w, x);
  }
  // [T * K, H], and [T, H] of the shared expert
  BufferPool::Buffer<float> y = context.compute.buffers.Borrow<float>(num_tokens * (k + 1) * hidden);
  DS_RETURN_IF_ERROR(RunExperts(context, w, layer_index, std::move(batches),
                                shared.weights != nullptr ? &shared : nullptr, x, y.data()));
  Combine(context.compute, routing, k, shared_gates, num_tokens, hidden, y.data(), out);
  return {};
}

}  // namespace

Status FeedForward(ForwardContext& context, const LayerWeights& w, const LayerSpec& layer, int layer_index,
                   int64_t num_tokens, const float* x, float* out) {
  Activations rows(context.compute, x, num_tokens, context.spec.hidden);
  if (layer.is_moe) return Mixture(context, w, layer_index, rows, out);
  const ExpertBatch all = AllTokens(w.dense, num_tokens, 0);
  context.executor.Run(context.compute, {}, {&all, 1}, rows, out);
  return {};
}

}  // namespace deepshock
