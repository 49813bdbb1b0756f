// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

TEST(Peak, EveryTableHasOne) {
  ThreadPool pool(2);
  for (const Kernels* kernels : AvailableKernels()) {
    const PeakRates rates = MeasurePeak(*kernels, pool, 0.01);
    // A core that runs at all does a thousandth of an operation in a cycle.
    EXPECT_GT(rates.int8_ops, 1e6) << kernels->name;
    EXPECT_GT(rates.float_ops, 1e6) << kernels->name;
    // Two instructions of 512 bits a cycle at 6 GHz are more than any core does: a compiler that computes
    // less than is counted is found here.
    EXPECT_LT(rates.int8_ops, 2 * 2 * 128 * 6e9) << kernels->name;
    EXPECT_LT(rates.float_ops, 2 * 2 * 32 * 6e9) << kernels->name;
  }
}

TEST(Peak, ReadProbeReadsTheWholeBuffer) {
  ThreadPool pool(2);
  ReadProbe probe(pool, 64 << 20);
  const double rate = probe.Measure();
  EXPECT_GT(rate, 1e7);   // bytes a second; a disk would be slower
  EXPECT_LT(rate, 1e13);  // nothing was read
}

}  // namespace
}  // namespace deepshock
