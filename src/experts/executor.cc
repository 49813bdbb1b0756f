// SPDX-License-Identifier: Apache-2.0
#include "experts/executor.h"

#include <algorithm>
#include <cmath>

#include "experts/executor_tasks.h"

namespace deepshock {

void ApplyActivation(const Kernels& kernels, const ExpertActivation& a, float* gate, const float* up,
                     int64_t n) {
  if (!a.clamped) {
    kernels.swiglu(gate, up, n, gate);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const float g = std::min(gate[i], a.clamp_limit);
    const float u = std::clamp(up[i], -a.clamp_limit, a.clamp_limit);
    gate[i] = (u + 1.0f) * g / (1.0f + std::exp(-a.sigmoid_scale * g));
  }
}

void LocalExecutor::Run(Compute& compute, const ExpertActivation& activation,
                        std::span<const ExpertBatch> batches, Activations& x, float* y) {
  ExpertBatches as_stored, interleaved;
  for (const ExpertBatch& batch : batches) {
    if (batch.rows.empty()) continue;
    (IsInterleaved(*batch.weights) ? interleaved : as_stored).push_back(&batch);
  }
  if (!as_stored.empty()) RunFloat(compute, activation, as_stored, x, y);
  if (!interleaved.empty()) RunInterleaved(compute, activation, interleaved, x, y);
}

}  // namespace deepshock
