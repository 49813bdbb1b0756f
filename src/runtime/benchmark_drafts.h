// SPDX-License-Identifier: Apache-2.0
// What speculation gains on one text: the same greedy generation with and without drafts, in turns, through
// the scheduler. Callers: `deepshock bench --prompt`; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "deepshock/engine.h"
#include "runtime/benchmark.h"

namespace deepshock {

struct DraftBenchOptions {
  std::vector<int32_t> prompt;
  int64_t tokens = 128;  // generated; end-of-sequence tokens are ignored
  int repetitions = 5;
  Speculation speculation = Speculation::kAuto;
  int draft_tokens = 3;
  KvType kv_type = KvType::kQ16;
  std::function<bool(int64_t done, int64_t total)> progress;  // may be empty; false stops the work
};

struct DraftBenchReport {
  Spread plain, drafted;                            // tokens a second after the first token
  double gain = 0;                                  // median over the repetitions of drafted / plain
  int64_t drafted_tokens = 0, accepted_tokens = 0;  // of one generation
  bool same_output = false;                         // of every repetition
};

// Fails when prompt and output do not fit in the model's context.
Result<DraftBenchReport> MeasureDrafts(const Model& model, Compute& compute,
                                       const DraftBenchOptions& options);

}  // namespace deepshock
