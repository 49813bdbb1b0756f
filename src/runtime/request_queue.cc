// SPDX-License-Identifier: Apache-2.0
#include "runtime/request_queue.h"

#include <utility>

namespace deepshock {

void RequestQueue::Push(std::unique_ptr<Sequence> sequence) {
  const Sequence::Rank rank = sequence->rank();
  waiting_.emplace(rank, std::move(sequence));
}

Sequence* RequestQueue::Find(uint64_t id) const {
  for (const auto& [rank, sequence] : waiting_) {
    if (rank.second == id) return sequence.get();
  }
  return nullptr;
}

std::unique_ptr<Sequence> RequestQueue::Take(Iterator at) { return std::move(waiting_.extract(at).mapped()); }

std::vector<std::unique_ptr<Sequence>> RequestQueue::TakeCancelled() {
  std::vector<std::unique_ptr<Sequence>> cancelled;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second->cancelled) {
      cancelled.push_back(std::move(it->second));
      it = waiting_.erase(it);
    } else {
      ++it;
    }
  }
  return cancelled;
}

}  // namespace deepshock
