// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace deepshock {
namespace {

// Calls ParallelFor and counts how often each index was visited.
void ExpectEachOnce(ThreadPool& pool, int64_t count, int64_t grain) {
  std::unique_ptr<std::atomic<int>[]> visits(new std::atomic<int>[static_cast<size_t>(count) + 1]());
  std::atomic<int> bad_ranges{0};
  pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end, int thread) {
    if (begin < 0 || begin >= end || end > count || end - begin > std::max<int64_t>(grain, 1)) ++bad_ranges;
    if (thread < 0 || thread >= pool.num_threads()) ++bad_ranges;
    for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
  });
  EXPECT_EQ(bad_ranges, 0) << count << " by " << grain;
  for (int64_t i = 0; i < count; ++i) ASSERT_EQ(visits[static_cast<size_t>(i)], 1) << i << " of " << count;
}

TEST(ThreadPool, CoversEachIndexOnce) {
  for (const int num_threads : {1, 2, 3, 8}) {
    ThreadPool pool(num_threads);
    EXPECT_EQ(pool.num_threads(), num_threads);
    for (const int64_t count : {0, 1, 2, 3, 7, 64, 1000, 10007}) {
      for (const int64_t grain : {-1, 0, 1, 2, 7, 64, 1000, 20000}) ExpectEachOnce(pool, count, grain);
    }
  }
}

TEST(ThreadPool, HugeCountsDoNotOverflow) {
  ThreadPool pool(3);
  constexpr int64_t kCount = INT64_MAX / 2;
  std::atomic<int64_t> sum{0};
  pool.ParallelFor(kCount, kCount / 3, [&](int64_t begin, int64_t end, int) { sum += end - begin; });
  EXPECT_EQ(sum, kCount);
}

// What one call writes, the next one sees; results gathered by thread number are whole.
TEST(ThreadPool, ManyShortCalls) {
  ThreadPool pool(4);
  std::vector<int64_t> values(64, 0), by_thread(4, 0);
  constexpr int kCalls = 5000;
  for (int call = 0; call < kCalls; ++call) {
    pool.ParallelFor(64, 1 + call % 5, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) ++values[static_cast<size_t>(i)];
      by_thread[static_cast<size_t>(thread)] += end - begin;
    });
  }
  for (const int64_t v : values) ASSERT_EQ(v, kCalls);
  int64_t sum = 0;
  for (const int64_t n : by_thread) sum += n;
  EXPECT_EQ(sum, int64_t{kCalls} * 64);
}

// Pauses around the spin time: workers are met spinning, falling asleep and asleep.
TEST(ThreadPool, CallsAtEveryStageOfFallingAsleep) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 300; ++i) {
    pool.ParallelFor(6, 1, [&](int64_t, int64_t, int) { ++sum; });
    std::this_thread::sleep_for(ThreadPool::kSpinTime * (i % 4) / 2);
  }
  EXPECT_EQ(sum, 300 * 6);
}

TEST(ThreadPool, WorkIsShared) {
  ThreadPool pool(2);
  // Each of the two ranges waits for the other, so one thread alone would never end.
  std::atomic<int> arrived{0};
  pool.ParallelFor(2, 1, [&](int64_t, int64_t, int) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
}

TEST(ThreadPool, SlowRangesAreWaitedFor) {
  ThreadPool pool(2);
  for (int i = 0; i < 5; ++i) {
    std::atomic<int> done{0};
    pool.ParallelFor(2, 1, [&](int64_t, int64_t, int thread) {
      if (thread != 0) std::this_thread::sleep_for(ThreadPool::kSpinTime * 40);  // the caller goes to sleep
      ++done;
    });
    ASSERT_EQ(done, 2);
  }
}

TEST(ThreadPool, CallsFromDifferentThreadsInTurn) {
  ThreadPool pool(2);
  for (int i = 0; i < 20; ++i) {
    std::thread([&] { ExpectEachOnce(pool, 100, 3); }).join();
  }
}

TEST(ThreadPool, StartsAndStopsWithoutWork) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(1 + i % 5);
}

TEST(ThreadPool, IdleWorkersSleep) {
  ThreadPool pool(4);
  pool.ParallelFor(100, 1, [](int64_t, int64_t, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const auto cpu_ms = [] {
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_nsec);
  };
  const double before = cpu_ms();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LT(cpu_ms() - before, 20);  // three spinning workers would take 100 ms or more
}

TEST(ThreadPool, DefaultNumThreads) {
  EXPECT_GE(DefaultNumThreads(), 1);
  EXPECT_LE(DefaultNumThreads(), static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
}

}  // namespace
}  // namespace deepshock
