// SPDX-License-Identifier: Apache-2.0
// One pool of worker threads for the whole program. The calling thread works too, so a pool of size 1 has no
// worker thread and runs everything in place. After a call workers watch for the next one for kSpinTime,
// because a forward pass makes hundreds of short calls and waking a sleeping thread costs more than most of
// them; then they sleep. ParallelFor may be called from one thread at a time and not from inside a task.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace deepshock {

class ThreadPool {
 public:
  // `cpus`: the CPU of each thread (PlaceThreads), or empty. The calling thread, which is thread 0, is the
  // caller's to pin.
  explicit ThreadPool(int num_threads, const std::vector<int>& cpus = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(begin, end, thread) over disjoint ranges that cover [0, count), each at most `grain` long, and
  // returns when all are done. `thread` is in [0, num_threads()): use it to index scratch memory.
  // Which thread runs which range varies; results must not depend on it.
  using Task = std::function<void(int64_t begin, int64_t end, int thread)>;
  void ParallelFor(int64_t count, int64_t grain, const Task& task);

  // How long an idle worker, or a caller waiting for the last range, polls before it sleeps.
  static constexpr std::chrono::microseconds kSpinTime{50};

 private:
  void WorkerLoop(int thread);
  // The state of the first call after number `seen`, or of the end of the pool.
  uint64_t WaitForCall(uint32_t seen);
  void WaitForWorkers();
  void RunRanges(int thread);

  std::vector<std::thread> workers_;

  // The running call in one word: its number, whether workers may still join it, how many have joined and not
  // yet left. The caller waits only for those who joined, so a worker that is slow to wake delays nobody.
  std::atomic<uint64_t> state_{0};
  std::atomic<bool> stopping_{false};
  // Written while no worker is in a call; published by state_.
  const Task* task_ = nullptr;
  int64_t count_ = 0;
  int64_t grain_ = 1;
  std::atomic<int64_t> next_{0};

  // Sleeping. Whoever goes to sleep first says so, then looks at state_ again; whoever changes state_ looks
  // at these afterwards. All of it is sequentially consistent, so one of the two sees the other.
  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable done_;
  std::atomic<int> sleeping_workers_{0};
  std::atomic<bool> caller_sleeps_{false};
};

// Physical cores that this process may use.
int DefaultNumThreads();

}  // namespace deepshock
