// SPDX-License-Identifier: Apache-2.0
// ExpertExecutor: who computes experts for a set of rows. The model batches tokens by expert and hands the
// batches over; where the experts' weights are, and on which processor they run, is the executor's affair.
// LocalExecutor computes on this machine's CPU from weights that are in memory (or mapped).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "experts/expert_weights.h"
#include "kernels/ops.h"

namespace deepshock {

// gate and up projections to the hidden activation of width I.
struct ExpertActivation {
  bool clamped = false;  // gpt-oss: g = min(gate, limit), u = clamp(up, +-limit), (u + 1) g sigmoid(scale g)
  float clamp_limit = 7.0f;  // (openai/gpt-oss, torch/model.py, swiglu)
  float sigmoid_scale = 1.702f;
};

// One expert and the rows it computes. Rows index both the input and, through `slots`, the output.
struct ExpertBatch {
  const ExpertWeights* weights = nullptr;
  std::vector<int32_t> rows;   // rows of x
  std::vector<int32_t> slots;  // where each row's result goes in y; every slot occurs once over all batches
};

class ExpertExecutor {
 public:
  virtual ~ExpertExecutor() = default;
  // x [*, H]; y [slots, H]: y[slot] = expert(x[row]), unweighted.
  virtual void Run(Compute& compute, const ExpertActivation& activation, std::span<const ExpertBatch> batches,
                   Activations& x, float* y) = 0;
};

// Two phases over all batches at once: gate, up and activation; then down. In each, tasks of (expert, block of
// output rows), the largest experts first, are taken by whichever thread is free.
class LocalExecutor final : public ExpertExecutor {
 public:
  void Run(Compute& compute, const ExpertActivation& activation, std::span<const ExpertBatch> batches,
           Activations& x, float* y) override;
};

// In place: gate becomes the hidden activation. Plain scalar code for the clamped form.
void ApplyActivation(const Kernels& kernels, const ExpertActivation& activation, float* gate, const float* up,
                     int64_t n);

}  // namespace deepshock
