// SPDX-License-Identifier: Apache-2.0
// Inside of the trace writer and reader: the numbers of the format that trace.h describes.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "experts/trace.h"

namespace deepshock {

inline constexpr char kTraceMagic[] = "DSROUTE1";
inline constexpr int kTraceGenerated = 1, kTraceLeftOut = 2;  // a row's flags
inline constexpr int kMaxTraceExperts = 1 << 16;
inline constexpr int kMaxTraceChosen = 255;
inline constexpr size_t kMaxTraceLayers = 4096;
inline constexpr size_t kMaxTraceHeaderBytes = 1 << 20;
// Rows x layers x K of one pass: bounds what a reader allocates.
inline constexpr int64_t kMaxTraceSelections = 32 << 20;

inline uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
inline int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

Status CheckTraceHeader(const TraceHeader& header);

}  // namespace deepshock
