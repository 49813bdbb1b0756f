// SPDX-License-Identifier: Apache-2.0
#include "apps/common/program.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <system_error>

namespace deepshock {
namespace {

constexpr int kExitError = 1;
constexpr int kExitUsage = 2;
constexpr int kExitClosedPipe = 128 + SIGPIPE;

volatile std::sig_atomic_t interrupted = 0;
int stdout_error = 0;  // errno of a failed WriteStdout
std::string program_name = "deepshock";

// Errors are one line, whatever a file name or a library's message holds.
std::string OneLine(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

void PrintError(const std::string& message) {
  std::fprintf(stderr, "%s: error: %s\n", program_name.c_str(), OneLine(message).c_str());
}

// The last words of the program: what stdio still holds must reach stdout.
int FinishStdout(int code) {
  if (stdout_error == EPIPE) return kExitClosedPipe;
  if (stdout_error != 0) return kExitError;  // already told
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  if (errno == EPIPE) return kExitClosedPipe;
  PrintError(std::string("stdout: cannot write: ") + std::strerror(errno));
  return kExitError;
}

int RunCommand(const Command& command) {
  try {
    const Result<int> code = command.run();
    if (code.ok()) return FinishStdout(*code);
    if (stdout_error != EPIPE) PrintError(code.message());
  } catch (const std::system_error& e) {  // fmt::print throws it when stdout fails
    stdout_error = e.code().value();
    if (stdout_error != EPIPE) PrintError(e.what());
  } catch (const std::bad_alloc&) {
    PrintError("out of memory");
  } catch (const std::exception& e) {
    PrintError(e.what());
  }
  return FinishStdout(kExitError);
}

void OnInterrupt(int) { interrupted = 1; }

}  // namespace

int RunProgram(CLI::App& app, std::span<const Command> commands, int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  program_name = app.get_name();
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return FinishStdout(app.exit(request));
  } catch (const CLI::ParseError& e) {
    std::string help = program_name;
    for (const CLI::App* subcommand : app.get_subcommands()) help += " " + subcommand->get_name();
    PrintError(fmt::format("{} (see {} --help)", e.what(), help));
    return kExitUsage;
  }
  for (const Command& command : commands) {
    if (command.app->parsed()) return RunCommand(command);
  }
  std::fputs(app.help().c_str(), stderr);
  return kExitUsage;
}

void PrintWarning(const std::string& message) {
  std::fprintf(stderr, "%s: warning: %s\n", program_name.c_str(), OneLine(message).c_str());
}

Status WriteStdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
  stdout_error = errno;
  return Fail("stdout: cannot write: {}", std::strerror(stdout_error));
}

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  // No SA_RESTART, so that a read that waits for the user returns.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool Interrupted() { return interrupted != 0; }

void ReleaseInterrupts() {
  interrupted = 0;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace deepshock
