// SPDX-License-Identifier: Apache-2.0
// Which files a model was loaded from, and which program computes with it, as a number: what is kept on disk
// of a model's states is of use only to the same. Reads some kilobytes of each file. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace deepshock {

// `path`: as for Model::Load. `settings`: all else that moves a bit of a result. Another size, time or
// sampled byte of a file, or of the program's own, is another number.
Result<uint64_t> ModelIdentity(const std::string& path, std::string_view settings);

}  // namespace deepshock
