// SPDX-License-Identifier: Apache-2.0
// What every program's main() does around its work: parse, run, report. Main thread only.
// Exit codes: 0 success, 1 an error while running, 2 wrong usage, 141 stdout's reader went away (as after
// SIGPIPE). An error is one line on stderr: "deepshock: error: ...".
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace CLI {
class App;
}

namespace deepshock {

// A program, or one subcommand of it.
struct Command {
  CLI::App* app = nullptr;
  // Runs once the command line is parsed and `app` was chosen. Returns the exit code; an error is printed and
  // becomes exit code 1. Options it reads live in a shared_ptr it captures.
  std::function<Result<int>()> run;
};

// Parses argv with `app`, which is or holds the apps of `commands`, and runs the chosen one.
// Ignores SIGPIPE: a write to a closed stdout fails with EPIPE, which ends the program quietly.
int RunProgram(CLI::App& app, std::span<const Command> commands, int argc, char** argv);

// One line on stderr under the program's name.
void PrintWarning(const std::string& message);

// Writes all of `text` to stdout and flushes. Fails when stdout is closed or full.
Status WriteStdout(std::string_view text);

// From here on Ctrl-C (SIGINT) and SIGTERM set a flag instead of ending the program, so that loops can end in
// order; a second signal ends it at once.
void CatchInterrupts();
bool Interrupted();
// A signal ends the program again, as before CatchInterrupts; what was seen is forgotten.
void ReleaseInterrupts();

// The exit code of a program that the user interrupted.
inline constexpr int kExitInterrupted = 130;  // 128 + SIGINT, as shells have it

}  // namespace deepshock
