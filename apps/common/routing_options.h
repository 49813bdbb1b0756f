// SPDX-License-Identifier: Apache-2.0
// The options that say which experts may serve, shared by the programs that generate or measure: see
// docs/routing.md. Names with an underscore are the documented ones; the same with a dash is accepted too.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "deepshock/engine.h"
#include "deepshock/generation.h"

namespace CLI {
class App;
}

namespace deepshock {

struct RoutingFlags {
  std::vector<std::string> ban, bias, boost;  // "EXPERTS,..."; "EXPERTS=X,..."
  std::optional<int> experts_per_token, min_experts;
  std::optional<double> adaptive_experts;
  bool explain = false;
  std::string trace;  // a file
};

enum RoutingOption : unsigned {
  kSteerOptions = 1,   // bans, biases, boosts, number of experts
  kExplainOption = 2,  // --explain_experts
  kTraceOption = 4,    // --trace_experts FILE
};

void AddRoutingOptions(CLI::App& app, unsigned which, RoutingFlags* flags);

// Lays what was given over `options`; the engine checks names and ranges.
Status ApplyRoutingFlags(const RoutingFlags& flags, RoutingOptions* options);

// Starts the trace that was asked for, if any: a warning on stderr when it stops.
Status StartTrace(const RoutingFlags& flags, Engine& engine);

}  // namespace deepshock
