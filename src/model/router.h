// SPDX-License-Identifier: Apache-2.0
// Routing: router logits to chosen experts and their weights, exactly as each family defines it, and as a
// request may have it otherwise (docs/routing.md). Plain code in float32; ties go to the lower expert id.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/spec.h"

namespace deepshock {

// One token. logits [E]; selection_bias [E] or empty. Writes experts [K], descending by selection score, and
// weights [K], scaled as applied.
void RouteToken(const RouterSpec& spec, std::span<const float> logits, std::span<const float> selection_bias,
                std::span<int32_t> experts, std::span<float> weights);

// How the rows of one request are routed otherwise than the router would.
struct RoutingControl {
  struct Layer {
    std::vector<float> logit_bias;      // [E] or empty: added to the logits, moves selection and weight
    std::vector<float> selection_bias;  // [E] or empty: added to what the selection is made on; -inf: banned
  };
  std::vector<Layer> layers;  // [L], or empty
  int max_chosen = 0;         // only the first so many of the chosen; 0: K
  // Of these the fewest (largest weights first) whose weights reach this share of their sum; 1: all.
  float weight_share = 1.0f;
  int min_chosen = 1;  // but never fewer than this
};

// What a control made of one token's selection.
struct RoutingChange {
  uint16_t changed = 0;  // chosen, though the router would not have
  uint16_t banned = 0;   // the router would have chosen them, and they are banned
  uint16_t dropped = 0;  // K less those that remain
};

// The same under a control, whose Layer is `layer` (may be null); bans leave at least one expert. Those that
// are left out stand behind the others, as -1 with weight 0. The others keep the weights that they have among
// the K: normalising again would make them louder than the model was trained with, and costs about twice the
// loss (docs/decisions/routing.md).
RoutingChange RouteToken(const RouterSpec& spec, const RoutingControl& control,
                         const RoutingControl::Layer* layer, std::span<const float> logits,
                         std::span<const float> selection_bias, std::span<int32_t> experts,
                         std::span<float> weights);

}  // namespace deepshock
