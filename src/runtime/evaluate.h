// SPDX-License-Identifier: Apache-2.0
// Measuring a model on given tokens: mean negative log-likelihood, as `deepshock eval nll` prints it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "model/model.h"

namespace deepshock {

struct NllResult {
  double nll = 0;          // nats, mean over `num_tokens` predictions
  int64_t num_tokens = 0;  // predictions: length - 1 for each sequence
  // With a control: what the model would evaluate (tokens x K x layers), and how much of it was left out.
  int64_t num_selections = 0, num_dropped = 0;
};

// Splits `tokens` into sequences of `length` (a remainder is an error) and predicts positions 1..length-1 of
// each from those before it, routed as `control` says (null: as the model does). `progress(done, total)`
// counts sequences and may be empty.
Result<NllResult> MeanNll(const Model& model, Compute& compute, std::span<const int32_t> tokens,
                          int64_t length, const std::function<void(int64_t, int64_t)>& progress,
                          KvType kv_type = KvType::kF32, const RoutingControl* control = nullptr);

// -log softmax(logits)[target], in double.
double NegativeLogLikelihood(std::span<const float> logits, int32_t target);

}  // namespace deepshock
