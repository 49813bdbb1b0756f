// SPDX-License-Identifier: Apache-2.0
// MLA's expansion weights in both directions. Decode needs W_UK transposed (queries into latent space, k_b),
// prefill needs it as stored whole (latents into keys, kv_b); files hold one of the two. Used by Model::Load.
#pragma once

#include "base/huge_memory.h"
#include "base/thread_pool.h"
#include "model/spec.h"
#include "model/weights.h"

namespace deepshock {

// Gives every layer whose expansion is quantised the direction that it lacks, transposed and encoded as Q8_0:
// lossy by up to 1/254 of the largest of 32 weights. The new matrices lie in the memory that is returned; it
// may be null.
Result<std::shared_ptr<HugeMemory>> DeriveLatentWeights(const ModelSpec& spec, ThreadPool& pool,
                                                        ModelWeights* weights);

// Whether heads begin at groups of 16 rows in both directions, so that the kernels' layout can be cut by
// head.
bool HeadsAreGroups(const AttentionSpec& attention);

}  // namespace deepshock
