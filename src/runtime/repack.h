// SPDX-License-Identifier: Apache-2.0
// Writing a repacked file (model/repacked.h) from a GGUF file: streamed, one matrix in memory for each thread
// at most, whatever the model's size.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"

namespace deepshock {

struct RepackOptions {
  // May be empty; false stops the work.
  std::function<bool(int64_t done_bytes, int64_t total_bytes)> progress;
};

struct RepackReport {
  int64_t bytes = 0;              // of tensors
  int64_t interleaved_bytes = 0;  // of them in the kernels' layout
  int64_t expert_records = 0;
};

// Writes beside `output` and renames.
Result<RepackReport> RepackGguf(const std::string& input, ThreadPool& pool, const std::string& output,
                                const RepackOptions& options);

}  // namespace deepshock
