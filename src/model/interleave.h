// SPDX-License-Identifier: Apache-2.0
// Brings a model's quantised weights into the kernels' layout while it is loaded: in place of the pages of
// the mapped files, which are let go as they are copied, not beside them. Used by Model::Load.
#pragma once

#include "base/thread_pool.h"
#include "model/source.h"

namespace deepshock {

// Which weights, in the order of VisitWeights; MLA's must have been derived (model/latent_weights.h).
std::vector<Matrix*> PlanInterleaving(const ModelSpec& spec, ModelWeights* weights);

// Replaces the views of every weight that has an interleaved form, except those that are read row by row (the
// embedding), and the router, whose input stays in float32. MLA's expansions get the direction that the file
// lacks (model/latent_weights.h). An expert's three matrices change together or not at all.
Status InterleaveWeights(const ModelSpec& spec, const WeightSource& source, ThreadPool& pool,
                         ModelWeights* weights);

}  // namespace deepshock
