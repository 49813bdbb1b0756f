// SPDX-License-Identifier: Apache-2.0
// --warmup_experts, --pin_experts, --expert_policy, --groups and --warm_set, shared by the programs that
// answer requests. Main thread only.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "deepshock/engine.h"

namespace CLI {
class App;
}

namespace deepshock {

struct ExpertFlags {
  std::string warmup, pin;  // names, separated by commas
  std::string policy = "auto";
  std::string groups;
  std::string warm_set;
};

void AddExpertOptions(CLI::App& app, ExpertFlags* flags);

// Does with the engine's experts what the flags say, with a progress bar, and tells the outcome on stderr,
// both unless quiet. Nothing where no flag was given.
Status PrepareExperts(const ExpertFlags& flags, bool quiet, Engine& engine);

// At the end of the program: keeps --warm_set up to date.
Status SaveWarmSet(const ExpertFlags& flags, const Engine& engine);

// "a, b" -> {"a", "b"}: names between commas, without blanks around them; empty ones are left out.
std::vector<std::string> SplitNames(const std::string& list);
// One line without its end.
std::string DescribeExperts(const ExpertReport& report);

}  // namespace deepshock
