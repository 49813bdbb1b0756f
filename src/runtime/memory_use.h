// SPDX-License-Identifier: Apache-2.0
// What a model under a memory limit has where, as the API tells it.
#pragma once

#include <optional>

#include "deepshock/engine.h"
#include "model/model.h"

namespace deepshock {

// None without a limit.
std::optional<MemoryUse> MemoryUseOf(const ModelMemory& memory);

}  // namespace deepshock
