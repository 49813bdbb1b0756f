// SPDX-License-Identifier: Apache-2.0
// The options that say how to generate, shared by the programs that do. Names with an underscore are the
// documented ones; the same with a dash is accepted too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/common/routing_options.h"
#include "base/result.h"
#include "deepshock/engine.h"
#include "deepshock/generation.h"

namespace CLI {
class App;
}

namespace deepshock {

struct GenerationFlags {
  std::optional<int64_t> max_tokens, top_k;
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::vector<std::string> logit_bias;  // "TOKEN=BIAS"
  std::vector<std::string> stop;
  std::optional<uint64_t> seed;
  bool ignore_eos = false;
  std::string speculation;
  std::optional<int> draft_tokens;
  RoutingFlags routing;
};

// `defaults` says in --help where the values come from that are not given.
void AddGenerationOptions(CLI::App& app, GenerationFlags* flags, const std::string& default_max_tokens,
                          const std::string& default_sampling);

// Lays what was given over `request`; ranges are checked.
Status ApplyGenerationFlags(const GenerationFlags& flags, GenerationRequest* request);
// The same for what the engine must know.
Status ApplySpeculationFlags(const GenerationFlags& flags, EngineOptions* options);

}  // namespace deepshock
