// SPDX-License-Identifier: Apache-2.0
// One pool of worker threads for the whole program; idle workers sleep. The calling thread works too, so a pool
// of size 1 has no worker thread and runs everything in place.
// ParallelFor may be called from one thread at a time and not from inside a task.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace deepshock {

class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(begin, end, thread) over disjoint ranges that cover [0, count), each at most `grain` long, and
  // returns when all are done. `thread` is in [0, num_threads()): use it to index scratch memory.
  // Which thread runs which range varies; results must not depend on it.
  using Task = std::function<void(int64_t begin, int64_t end, int thread)>;
  void ParallelFor(int64_t count, int64_t grain, const Task& task);

 private:
  void WorkerLoop(int thread);
  void RunRanges(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable done_;
  uint64_t generation_ = 0;  // counts ParallelFor calls; workers wait for it to change
  int busy_workers_ = 0;
  bool stopping_ = false;
  // The running call; written under mutex_ before workers start.
  const Task* task_ = nullptr;
  int64_t count_ = 0;
  int64_t grain_ = 1;
  std::atomic<int64_t> next_{0};
};

// Physical cores that this process may use.
int DefaultNumThreads();

}  // namespace deepshock
