// SPDX-License-Identifier: Apache-2.0
// RequestQueue: the requests that wait, in the order of Sequence::rank: by submission, where each level of
// priority is a head start of ten seconds. So nobody starves, and one that was put back for lack of memory
// keeps its place. Owned by the scheduler, on its thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "runtime/sequence.h"

namespace deepshock {

class RequestQueue {
 public:
  size_t size() const { return waiting_.size(); }
  bool empty() const { return waiting_.empty(); }
  void Push(std::unique_ptr<Sequence> sequence);
  // Null when there is none of that number.
  Sequence* Find(uint64_t id) const;
  // In the order of rank.
  using Iterator = std::map<Sequence::Rank, std::unique_ptr<Sequence>>::iterator;
  Iterator begin() { return waiting_.begin(); }
  Iterator end() { return waiting_.end(); }
  std::unique_ptr<Sequence> Take(Iterator at);
  // Those that were cancelled.
  std::vector<std::unique_ptr<Sequence>> TakeCancelled();

 private:
  std::map<Sequence::Rank, std::unique_ptr<Sequence>> waiting_;
};

}  // namespace deepshock
