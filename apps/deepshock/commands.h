// SPDX-License-Identifier: Apache-2.0
// The subcommands of `deepshock`. Each lives in its own file <name>.cc, adds its CLI::App and options, and
// returns what to run once it was chosen. For example:
//
//   Command AddInspect(CLI::App& program) {
//     struct Options : CommonOptions { std::string model; };
//     auto options = std::make_shared<Options>();
//     CLI::App* app = program.add_subcommand("inspect", "Tell what a model is");
//     app->add_option("MODEL", options->model, kModelHelp)->required();
//     AddCommonOptions(*app, kJsonOption, options.get());
//     app->footer("Examples:\n  deepshock inspect models/tiny-moe.gguf");
//     return {app, [options] { return Inspect(*options); }};  // Result<int>: exit code or error
//   }
//
// Long commands call CatchInterrupts() and look at Interrupted(), so that no partial file stays behind after
// Ctrl-C. A command is registered by its line in main.cc.
#pragma once

#include <vector>

#include "apps/common/options.h"
#include "apps/common/program.h"

namespace CLI {
class App;
}

namespace deepshock {

Command AddRun(CLI::App& program);
Command AddServe(CLI::App& program);
Command AddInspect(CLI::App& program);
Command AddVerify(CLI::App& program);
Command AddEval(CLI::App& program);
Command AddConvert(CLI::App& program);
Command AddSynth(CLI::App& program);
Command AddRepack(CLI::App& program);
Command AddBench(CLI::App& program);
// A tree of commands (experts.h).
std::vector<Command> AddExperts(CLI::App& program);

}  // namespace deepshock
