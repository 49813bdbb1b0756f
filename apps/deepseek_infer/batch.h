// SPDX-License-Identifier: Apache-2.0
// Batch inference: JSON Lines in, JSON Lines out, in the order of the input. Main thread only.
#pragma once

#include <string>

#include "base/result.h"
#include "deepshock/engine.h"

namespace deepshock {

struct BatchOptions {
  std::string input;   // a file; empty or "-": stdin
  std::string output;  // a file, written beside and renamed when all is done; empty or "-": stdout
  bool chat = false;   // "prompt" goes through the chat template
  bool quiet = false;
  GenerationRequest defaults;  // what a record does not say
  int batch_size = 1;
  int ahead = 2;  // requests that wait or run, in batches: a finished one's place is never empty
};

// A record that fails becomes an error record in the output, and the others go on. Returns the exit code.
Result<int> RunBatch(Engine& engine, const BatchOptions& options);

}  // namespace deepshock
