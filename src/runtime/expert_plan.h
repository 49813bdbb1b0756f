// SPDX-License-Identifier: Apache-2.0
// What an engine does with a model's experts before the first request: which policy keeps them in memory,
// which are loaded first, and which stay. Called once by Engine::PrepareExperts, on its thread, between
// passes.
#pragma once

#include <string>

#include "base/result.h"
#include "deepshock/engine.h"
#include "model/model.h"

namespace deepshock {

// `groups_path`: of the model's groups; read when one is named.
Result<ExpertReport> PrepareExperts(const Model& model, const std::string& groups_path,
                                    const ExpertOptions& options);

// The experts that are in memory, the most useful first, into `path`. Fails for a model whose experts are all
// at hand.
Status SaveWarmSet(const Model& model, const std::string& path);

}  // namespace deepshock
