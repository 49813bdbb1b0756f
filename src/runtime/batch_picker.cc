// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch_picker.h"

#include <algorithm>

namespace deepshock {
namespace {
// How far down the queue is looked: choosing takes microseconds, and more choice gains nothing.
constexpr int kMaxLooked = 1024;
}  // namespace

RequestQueue::Iterator BatchPicker::FirstDue(RequestQueue& queue, Clock::time_point now) const {
  int looked = 0;
  std::chrono::duration<double> until =
      interval_;  // the next place is free; those before it take theirs first
  for (auto it = queue.begin(); it != queue.end() && looked < kMaxLooked; ++it, ++looked) {
    const Sequence& sequence = *it->second;
    if (!sequence.passed) continue;
    if (now - sequence.passed_since + until >= wait_)
      return queue.begin()->second->passed ? queue.begin() : it;
    until += interval_;
  }
  return queue.end();
}

RequestQueue::Iterator BatchPicker::Best(RequestQueue& queue, const std::vector<int>& running) const {
  // Where none runs, the last one's experts are the likeliest to be at hand still; then what most wait of.
  constexpr double kWaiting = 1e-6;
  std::vector<double> scores(ExpertTypes::kMaxTypes);
  for (size_t type = 0; type < scores.size(); ++type) {
    for (const int other : running) scores[type] += types_.Affinity(static_cast<int>(type), other);
    if (running.empty()) scores[type] = types_.Affinity(static_cast<int>(type), last_type_);
  }
  int looked = 0;
  for (auto it = queue.begin(); it != queue.end() && looked < kMaxLooked; ++it, ++looked) {
    const int type = it->second->expert_type;
    if (type != ExpertTypes::kUnknown) scores[static_cast<size_t>(type)] += kWaiting;
  }
  auto best = queue.begin();
  double most = -1;
  looked = 0;
  for (auto it = queue.begin(); it != queue.end() && looked < kMaxLooked; ++it, ++looked) {
    const int type = it->second->expert_type;
    const double score = type == ExpertTypes::kUnknown ? 0 : scores[static_cast<size_t>(type)];
    if (score > most) {
      most = score;
      best = it;
    }
  }
  return best;
}

std::unique_ptr<Sequence> BatchPicker::Take(RequestQueue& queue, const std::vector<int>& running,
                                            Clock::time_point now) {
  if (batching_ == Batching::kFifo) return queue.Take(queue.begin());
  if (now > last_taken_ && last_taken_ != Clock::time_point()) {
    const std::chrono::duration<double> since =
        std::min<std::chrono::duration<double>>(now - last_taken_, 2 * wait_);
    interval_ += (since - interval_) / 4;
  }
  last_taken_ = now;
  // Whoever is passed over now must have a place in time.
  if (interval_ >= wait_) return queue.Take(queue.begin());
  auto chosen = FirstDue(queue, now);
  if (chosen == queue.end()) chosen = Best(queue, running);
  for (auto it = queue.begin(); it != chosen; ++it) {
    if (it->second->passed) continue;
    it->second->passed = true;
    it->second->passed_since = now;
  }
  last_type_ = chosen->second->expert_type;
  return queue.Take(chosen);
}

}  // namespace deepshock
