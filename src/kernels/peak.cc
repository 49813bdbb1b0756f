// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "kernels/peak_loops.h"

namespace deepshock {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kRounds = 1 << 14;  // between two looks at the clock
constexpr int64_t kSinkStride = 16;   // elements: threads' sinks lie on different cache lines
constexpr int64_t kReadGrainWords = (4 << 20) / sizeof(uint64_t);
constexpr int64_t kPrefetchWords = 4096 / sizeof(uint64_t);

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// What the reference table does: plain C++, which the compiler may turn into the baseline's vectors.
int64_t PeakInt8Plain(int64_t rounds, int32_t* sink) {
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : : : "memory");
    for (int i = 0; i < kSinkStride; ++i) sink[i] += static_cast<int8_t>(r) * static_cast<int8_t>(i);
  }
  return rounds * kSinkStride * 2;
}

int64_t PeakFloatPlain(int64_t rounds, float* sink) {
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : : : "memory");
    for (int i = 0; i < kSinkStride; ++i) sink[i] += static_cast<float>(r & 1) * static_cast<float>(i);
  }
  return rounds * kSinkStride * 2;
}

// Every thread repeats `loop` for `seconds`; operations a second of all of them.
template <typename T>
double Rate(int64_t (*loop)(int64_t, T*), ThreadPool& pool, double seconds) {
  const int threads = pool.num_threads();
  std::vector<T> sinks(static_cast<size_t>(threads * kSinkStride));
  std::atomic<int64_t> operations{0};
  const Clock::time_point start = Clock::now();
  pool.ParallelFor(threads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t done = 0;
      do {
        done += loop(kRounds, sinks.data() + i * kSinkStride);
      } while (SecondsSince(start) < seconds);
      operations += done;
    }
  });
  return static_cast<double>(operations) / SecondsSince(start);
}

struct Loops {
  int64_t (*int8)(int64_t, int32_t*);
  int64_t (*floats)(int64_t, float*);
};

Loops LoopsOf(std::string_view kernels) {
#if defined(__x86_64__)
  if (kernels == "avx512vnni") return {PeakInt8Avx512Vnni, PeakFloatAvx512};
  if (kernels == "avx512") return {PeakInt8Avx2, PeakFloatAvx512};
  if (kernels == "avx2") return {PeakInt8Avx2, PeakFloatAvx2};
#elif defined(__aarch64__)
  if (kernels == "neon") return {PeakInt8Neon, PeakFloatNeon};
#else
  (void)kernels;
#endif
  return {PeakInt8Plain, PeakFloatPlain};
}

}  // namespace

PeakRates MeasurePeak(const Kernels& kernels, ThreadPool& pool, double seconds) {
  const Loops loops = LoopsOf(kernels.name);
  return {Rate(loops.int8, pool, seconds), Rate(loops.floats, pool, seconds)};
}

ReadProbe::ReadProbe(ThreadPool& pool, int64_t bytes)
    : pool_(pool),
      words_(static_cast<size_t>(bytes) / sizeof(uint64_t), 1),
      sinks_(static_cast<size_t>(pool.num_threads()) * 8) {}

double ReadProbe::Measure() {
  const auto count = static_cast<int64_t>(words_.size());
  const Clock::time_point start = Clock::now();
  pool_.ParallelFor(count, kReadGrainWords, [&](int64_t begin, int64_t end, int thread) {
    uint64_t sums[8] = {};
    const uint64_t* words = words_.data();
    for (; begin + 8 <= end; begin += 8) {
      // As the kernels do: alone, the processor's prefetcher does not reach what the memory can give.
      __builtin_prefetch(words + begin + kPrefetchWords);
      for (int i = 0; i < 8; ++i) sums[i] ^= words[begin + i];
    }
    for (int i = 0; i < 8; ++i) sinks_[static_cast<size_t>(thread * 8 + i)] += sums[i];
  });
  return static_cast<double>(count * static_cast<int64_t>(sizeof(uint64_t))) / SecondsSince(start);
}

}  // namespace deepshock
