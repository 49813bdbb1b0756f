// SPDX-License-Identifier: Apache-2.0
// What the machine could do at best, measured: dot products that stay in registers, and reads of a buffer
// much larger than any cache. Benchmarks compare with these. Each call computes on all threads of the pool
// for about as long as asked; results are rates over all threads.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace deepshock {

// Operations a second (a multiplication and an addition are two) of 8-bit integer dot products added up in 32
// bits, and of float32 multiply-adds, with the instructions that `kernels` has.
struct PeakRates {
  double int8_ops = 0;
  double float_ops = 0;
};
PeakRates MeasurePeak(const Kernels& kernels, ThreadPool& pool, double seconds);

// Memory to read; made once, since filling it takes longer than reading it.
class ReadProbe {
 public:
  ReadProbe(ThreadPool& pool, int64_t bytes);
  // One pass over the buffer: bytes a second.
  double Measure();

 private:
  ThreadPool& pool_;
  std::vector<uint64_t> words_;
  std::vector<uint64_t> sinks_;  // [num_threads * 8]
};

}  // namespace deepshock
