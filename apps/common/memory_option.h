// SPDX-License-Identifier: Apache-2.0
// --memory: the limit for weights and states, and what is told about it. Main thread only.
#pragma once

#include <optional>
#include <string>

#include "apps/common/options.h"
#include "deepshock/engine.h"

namespace deepshock {

// 0 for "auto" and where the option was not given: no limit.
Result<int64_t> MemoryBytes(const CommonOptions& options);

// One line without its end: where the experts are, what was read, what was waited for.
std::string DescribeMemory(const MemoryUse& use);
// The same on stderr, for a program that has done its work; nothing without a limit or where no expert is
// read.
void PrintMemoryUse(const std::optional<MemoryUse>& use);

}  // namespace deepshock
