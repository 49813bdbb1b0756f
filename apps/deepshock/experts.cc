// SPDX-License-Identifier: Apache-2.0
// `deepshock experts`: the tree of commands about a model's experts.
#include "apps/deepshock/experts.h"

#include <CLI/CLI.hpp>

namespace deepshock {

std::vector<Command> AddExperts(CLI::App& program) {
  CLI::App* experts = program.add_subcommand("experts", "Look at a model's experts");
  experts->require_subcommand(1);
  CLI::App* trace = experts->add_subcommand("trace", "Read a route trace (--trace_experts)");
  trace->require_subcommand(1);
  return {AddExpertsTraceShow(*trace), AddExpertsTraceExport(*trace)};
}

}  // namespace deepshock
