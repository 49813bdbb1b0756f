// SPDX-License-Identifier: Apache-2.0
// BatchPicker: which waiting request takes a free place. Fifo takes the first in rank. Expert batching takes
// the one whose type shares most experts with those that run, or, where none runs, with the last one; but it
// never leaves a place empty, passes nobody over unless more places are expected before `wait` has passed, and
// gives those to the ones that were passed over. Owned by the scheduler, on its thread.
#pragma once

#include <memory>
#include <vector>

#include "runtime/expert_types.h"
#include "runtime/request_queue.h"

namespace deepshock {

class BatchPicker {
 public:
  using Clock = Sequence::Clock;
  BatchPicker(Batching batching, std::chrono::duration<double> wait, ExpertTypes& types)
      : batching_(batching), wait_(wait), types_(types) {}

  // Takes one out of the queue, which holds some. `running`: the types of those that run.
  std::unique_ptr<Sequence> Take(RequestQueue& queue, const std::vector<int>& running, Clock::time_point now);

 private:
  // Of the first in rank that was passed over so long that it must not be again; the end where there is none.
  RequestQueue::Iterator FirstDue(RequestQueue& queue, Clock::time_point now) const;
  RequestQueue::Iterator Best(RequestQueue& queue, const std::vector<int>& running) const;

  Batching batching_;
  std::chrono::duration<double> wait_;
  ExpertTypes& types_;
  std::chrono::duration<double> interval_{0};  // between two steps in which places were free, of late
  Clock::time_point last_taken_{};
  int last_type_ = ExpertTypes::kUnknown;
};

}  // namespace deepshock
