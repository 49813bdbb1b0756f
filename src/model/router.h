// SPDX-License-Identifier: Apache-2.0
// Routing: router logits to chosen experts and their weights, exactly as each family defines it.
// Plain code in float32; ties go to the lower expert id.
#pragma once

#include <cstdint>
#include <span>

#include "model/spec.h"

namespace deepshock {

// One token. logits [E]; selection_bias [E] or empty. Writes experts [K], descending by selection score, and
// weights [K], scaled as applied.
void RouteToken(const RouterSpec& spec, std::span<const float> logits, std::span<const float> selection_bias,
                std::span<int32_t> experts, std::span<float> weights);

}  // namespace deepshock
