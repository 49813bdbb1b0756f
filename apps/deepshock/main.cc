// SPDX-License-Identifier: Apache-2.0
// deepshock: one program, a subcommand for each job.
#include <CLI/CLI.hpp>
#include <vector>

#include "apps/deepshock/commands.h"

int main(int argc, char** argv) {
  CLI::App app("Deepshock runs Mixture-of-Experts language models, experts first.", "deepshock");
  deepshock::CommonOptions common;
  deepshock::AddCommonOptions(app, 0, &common);
  app.require_subcommand(0, 1);
  app.footer(
      "Examples:\n"
      "  deepshock run                                   chat with the embedded default model\n"
      "  deepshock run MODEL --prompt \"Hello\"            answer once\n"
      "  deepshock serve MODEL                           answer OpenAI's and Anthropic's clients over HTTP\n"
      "  deepshock inspect MODEL                         tell what a model is and what it needs\n"
      "  deepshock experts list                          the embedded model's named groups of experts\n"
      "deepshock COMMAND --help tells a command's options.");
  std::vector<deepshock::Command> commands = {
      deepshock::AddRun(app),    deepshock::AddServe(app),   deepshock::AddInspect(app), deepshock::AddVerify(app),
      deepshock::AddEval(app),   deepshock::AddConvert(app), deepshock::AddSynth(app),
      deepshock::AddRepack(app), deepshock::AddBench(app),
  };
  for (deepshock::Command& command : deepshock::AddExperts(app)) commands.push_back(std::move(command));
  return deepshock::RunProgram(app, commands, argc, argv);
}
