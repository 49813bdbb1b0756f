// SPDX-License-Identifier: Apache-2.0
// Feed-forward blocks: route, group tokens by expert, let the executor compute, combine. A dense MLP is one
// expert with every token in its group.
#include <cmath>
#include <numeric>

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

// One MLP over all tokens.
void RunMlp(ForwardContext& context, const ExpertActivation& activation, const ExpertWeights& w,
            int64_t num_tokens, const float* x, float* out) {
  ExpertGroup all;
  all.weights = &w;
  all.rows.resize(static_cast<size_t>(num_tokens));
  std::iota(all.rows.begin(), all.rows.end(), 0);
  all.slots = all.rows;
  context.executor.Run(context.compute, activation, {&all, 1}, x, context.spec.hidden, out);
}

struct Routing {
  std::vector<float> logits;     // [T, E]
  std::vector<int32_t> experts;  // [T, K]
  std::vector<float> weights;    // [T, K]
};

Routing Route(ForwardContext& context, const LayerWeights& w, int64_t num_tokens, const float* x) {
  const RouterSpec& spec = context.spec.router;
  const auto num_experts = static_cast<size_t>(spec.num_experts), k = static_cast<size_t>(spec.top_k);
  const auto tokens = static_cast<size_t>(num_tokens);
  Routing r;
  r.logits.resize(tokens * num_experts);
  r.experts.resize(tokens * k);
  r.weights.resize(tokens * k);
  MatMul(context.compute, w.router, w.router_bias, x, num_tokens, r.logits.data());
  const std::vector<float> bias = w.selection_bias ? DecodeVector(w.selection_bias) : std::vector<float>();
  for (size_t t = 0; t < tokens; ++t) {
    RouteToken(spec, std::span(r.logits).subspan(t * num_experts, num_experts), bias,
               std::span(r.experts).subspan(t * k, k), std::span(r.weights).subspan(t * k, k));
  }
  return r;
}

// Slot t * K + i holds token t's result from its i-th chosen expert.
std::vector<ExpertGroup> GroupByExpert(const LayerWeights& w, const Routing& routing, size_t k) {
  std::vector<ExpertGroup> by_expert(w.experts.size());
  for (size_t slot = 0; slot < routing.experts.size(); ++slot) {
    ExpertGroup& group = by_expert[static_cast<size_t>(routing.experts[slot])];
    group.rows.push_back(static_cast<int32_t>(slot / k));
    group.slots.push_back(static_cast<int32_t>(slot));
  }
  std::vector<ExpertGroup> groups;
  for (size_t e = 0; e < by_expert.size(); ++e) {
    if (by_expert[e].rows.empty()) continue;
    by_expert[e].weights = &w.experts[e];
    groups.push_back(std::move(by_expert[e]));
  }
  return groups;
}

void AddSharedExpert(ForwardContext& context, const LayerWeights& w, const ExpertActivation& activation,
                     int64_t num_tokens, const float* x, float* out) {
  const int64_t hidden = context.spec.hidden;
  std::vector<float> shared(static_cast<size_t>(num_tokens * hidden));
  RunMlp(context, activation, w.shared, num_tokens, x, shared.data());
  std::vector<float> gates(static_cast<size_t>(num_tokens), 1.0f);
  if (w.shared_gate) {
    MatMul(context.compute, w.shared_gate, {}, x, num_tokens, gates.data());
    for (float& g : gates) g = 1.0f / (1.0f + std::exp(-g));
  }
  for (int64_t t = 0; t < num_tokens; ++t) {
    context.compute.kernels->axpy(gates[static_cast<size_t>(t)], shared.data() + t * hidden, out + t * hidden,
                                  hidden);
  }
}

void Mixture(ForwardContext& context, const LayerWeights& w, int layer_index, int64_t num_tokens,
             const float* x, float* out) {
  const ExpertActivation activation = ActivationOf(context.spec.expert);
  const auto k = static_cast<size_t>(context.spec.router.top_k);
  const int64_t hidden = context.spec.hidden;
  const Routing routing = Route(context, w, num_tokens, x);
  if (context.observer != nullptr) {
    context.observer->OnRouting({layer_index, num_tokens, context.spec.router.top_k, routing.logits,
                                 routing.experts, routing.weights});
  }
  std::vector<float> slots(routing.experts.size() * static_cast<size_t>(hidden));  // [T * K, H]
  context.executor.Run(context.compute, activation, GroupByExpert(w, routing, k), x, hidden, slots.data());
  for (int64_t t = 0; t < num_tokens; ++t) {
    float* sum = out + t * hidden;
    std::fill_n(sum, hidden, 0.0f);
    for (size_t i = 0; i < k; ++i) {
      const size_t slot = static_cast<size_t>(t) * k + i;
      context.compute.kernels->axpy(routing.weights[slot], slots.data() + static_cast<int64_t>(slot) * hidden,
                                    sum, hidden);
    }
  }
  if (w.shared.gate) AddSharedExpert(context, w, activation, num_tokens, x, out);
}

}  // namespace

void FeedForward(ForwardContext& context, const LayerWeights& w, const LayerSpec& layer, int layer_index,
                 int64_t num_tokens, const float* x, float* out) {
  if (layer.is_moe) {
    Mixture(context, w, layer_index, num_tokens, x, out);
  } else {
    RunMlp(context, {}, w.dense, num_tokens, x, out);
  }
}

}  // namespace deepshock
