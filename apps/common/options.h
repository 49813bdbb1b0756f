// SPDX-License-Identifier: Apache-2.0
// Options that all programs share, and what they set up. Main thread only.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/ops.h"

namespace CLI {
class App;
}

namespace deepshock {

struct CommonOptions {
  int threads = 0;      // 0: one for each physical core
  std::string kernels;  // empty: the fastest table this CPU runs
  std::string activations = "int8";
  std::string kv_type;  // empty: as EngineOptions says
  std::string memory;   // apps/common/memory_option.h
  bool json = false;
  bool quiet = false;  // no progress, no warnings
};

enum CommonOption : unsigned {
  kThreadsOption = 1,       // --threads N
  kKernelsOption = 2,       // --kernels NAME
  kJsonOption = 4,          // --json
  kQuietOption = 8,         // --quiet
  kActivationsOption = 16,  // --activations int8|float32
  kKvTypeOption = 32,       // --kv_type f32|q16|q8
  kMemoryOption = 64,       // --memory SIZE
  kComputeOptions = kThreadsOption | kKernelsOption,
  kInferenceOptions = kComputeOptions | kActivationsOption | kKvTypeOption,
};

// Adds --version and those of `which` (CommonOption, or-ed). `options` must outlive parsing.
void AddCommonOptions(CLI::App& app, unsigned which, CommonOptions* options);

// The threads to run with: checks the option and warns when there are more threads than cores.
Result<int> NumThreads(const CommonOptions& options);

// The thread pool and kernels that the options ask for.
struct Machine {
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Compute> compute;
};
Result<Machine> MakeMachine(const CommonOptions& options);

// Finds MODEL as the user gave it: a folder, a file, or a name looked up in $DEEPSHOCK_HOME/models and the
// Hugging Face cache. Empty: the embedded default model.
Result<std::string> FindModelArgument(const std::string& model);
// The text for MODEL in --help.
inline constexpr const char* kModelHelp =
    "Hugging Face folder, GGUF file, or a name looked up in $DEEPSHOCK_HOME/models (~/.deepshock/models), "
    "then in the Hugging Face cache";

}  // namespace deepshock
