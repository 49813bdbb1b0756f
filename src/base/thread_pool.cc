// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <algorithm>

#include "base/check.h"
#include "base/topology.h"

namespace deepshock {

namespace {

// The layout of ThreadPool::state_.
constexpr uint64_t kJoined = 1;  // one worker; the low 31 bits count them
constexpr uint64_t kOpen = uint64_t{1} << 31;
constexpr uint64_t kJoinedMask = kOpen - 1;
uint32_t CallNumber(uint64_t state) { return static_cast<uint32_t>(state >> 32); }

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Polls `ready` for ThreadPool::kSpinTime at most; tells whether it came true.
template <typename Condition>
bool Spin(const Condition& ready) {
  constexpr int kPollsPerClockRead = 32;
  const auto end = std::chrono::steady_clock::now() + ThreadPool::kSpinTime;
  do {
    for (int i = 0; i < kPollsPerClockRead; ++i) {
      if (ready()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int num_threads, const std::vector<int>& cpus) {
  DS_CHECK(num_threads >= 1, "a thread pool needs at least one thread");
  DS_CHECK(cpus.empty() || cpus.size() == static_cast<size_t>(num_threads), "a CPU for each thread");
  workers_.reserve(static_cast<size_t>(num_threads - 1));
  for (int i = 1; i < num_threads; ++i) {
    const int cpu = cpus.empty() ? -1 : cpus[static_cast<size_t>(i)];
    workers_.emplace_back([this, i, cpu] {
      if (cpu >= 0) PinThread(cpu);
      WorkerLoop(i);
    });
  }
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  { std::lock_guard lock(mutex_); }
  start_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::RunRanges(int thread) {
  for (;;) {
    const int64_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
    if (begin >= count_) return;
    (*task_)(begin, begin + std::min(grain_, count_ - begin), thread);
  }
}

uint64_t ThreadPool::WaitForCall(uint32_t seen) {
  uint64_t state = 0;
  const auto ready = [&] {
    state = state_.load();
    return CallNumber(state) != seen || stopping_.load();
  };
  if (Spin(ready)) return state;
  ++sleeping_workers_;
  {
    std::unique_lock lock(mutex_);
    start_.wait(lock, ready);
  }
  --sleeping_workers_;
  return state;
}

void ThreadPool::WorkerLoop(int thread) {
  uint32_t seen = 0;
  for (;;) {
    uint64_t state = WaitForCall(seen);
    if (stopping_) return;
    seen = CallNumber(state);
    while ((state & kOpen) != 0 && !state_.compare_exchange_weak(state, state + kJoined)) {
    }
    if ((state & kOpen) == 0) continue;  // over before this worker came
    seen = CallNumber(state);
    RunRanges(thread);
    const uint64_t left = state_.fetch_sub(kJoined) - kJoined;
    if ((left & kJoinedMask) == 0 && caller_sleeps_) {
      { std::lock_guard lock(mutex_); }
      done_.notify_one();
    }
  }
}

void ThreadPool::WaitForWorkers() {
  const auto ready = [&] { return (state_.load() & kJoinedMask) == 0; };
  if (Spin(ready)) return;
  caller_sleeps_ = true;
  {
    std::unique_lock lock(mutex_);
    done_.wait(lock, ready);
  }
  caller_sleeps_ = false;
}

void ThreadPool::ParallelFor(int64_t count, int64_t grain, const Task& task) {
  if (count <= 0) return;
  grain = std::clamp<int64_t>(grain, 1, count);
  if (workers_.empty() || count == grain) {
    for (int64_t begin = 0; begin < count; begin += grain)
      task(begin, begin + std::min(grain, count - begin), 0);
    return;
  }
  DS_CHECK((state_ & kOpen) == 0, "ParallelFor is not reentrant");
  task_ = &task;
  count_ = count;
  grain_ = grain;
  next_.store(0, std::memory_order_relaxed);
  state_ = (uint64_t{CallNumber(state_)} + 1) << 32 | kOpen;
  if (sleeping_workers_ > 0) {
    { std::lock_guard lock(mutex_); }
    start_.notify_all();
  }
  RunRanges(0);
  state_.fetch_and(~kOpen);
  WaitForWorkers();
}

int DefaultNumThreads() { return FindTopology().num_cores(); }

}  // namespace deepshock
