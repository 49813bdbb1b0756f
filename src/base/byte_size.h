// SPDX-License-Identifier: Apache-2.0
// Sizes in bytes as people write them. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace deepshock {

// "6G", "512M", "1.5GiB", "4000000000", "4GB": K, M, G, T and KiB to TiB count in steps of 1024, KB to TB in
// steps of 1000; upper or lower case; at least one byte.
Result<int64_t> ParseByteSize(std::string_view text);

// "4.0 GiB", "512 MiB", "17 bytes": three digits, for people.
std::string FormatByteSize(int64_t bytes);

}  // namespace deepshock
