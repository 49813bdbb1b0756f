// SPDX-License-Identifier: Apache-2.0
// The weights of one expert (or of a dense MLP, which is the one-expert case): views, owned elsewhere.
#pragma once

#include "tensor/matrix.h"

namespace deepshock {

struct ExpertWeights {
  Matrix gate, up;            // [I, H]
  Matrix down;                // [H, I]
  Matrix gate_bias, up_bias;  // [1, I] or absent
  Matrix down_bias;           // [1, H] or absent
};

}  // namespace deepshock
