// SPDX-License-Identifier: Apache-2.0
// `deepshock repack`: a GGUF file in the kernels' own layout.
#include "runtime/repack.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>

#include "apps/common/terminal.h"
#include "apps/deepshock/commands.h"
#include "base/json.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string input;
  std::string output;
  bool force = false;
};

Result<int> Repack(const Options& options) {
  namespace fs = std::filesystem;
  DS_ASSIGN(const std::string path, FindModelArgument(options.input));
  std::error_code error;
  if (fs::is_directory(path)) {
    return Fail("{}: expected a GGUF file, found a folder; deepshock convert makes one of it", path);
  }
  if (fs::equivalent(path, options.output, error)) {
    return Fail("{}: expected another file than the input", options.output);
  }
  if (fs::exists(options.output, error) && !options.force) {
    return Fail("{}: expected no file there, found one; --force replaces it", options.output);
  }
  DS_ASSIGN(Machine machine, MakeMachine(options));
  CatchInterrupts();
  std::optional<Progress> bar;  // made when the size is known
  RepackOptions repack;
  repack.progress = [&](int64_t done, int64_t total) {
    if (!bar) bar.emplace("repacking", total, options.quiet);
    bar->Update(done);
    return !Interrupted();
  };
  DS_ASSIGN(const RepackReport report, RepackGguf(path, *machine.pool, options.output, repack));
  if (bar) bar->Finish();
  if (options.json) {
    const nlohmann::ordered_json json = {{"output", options.output},
                                         {"tensor_bytes", report.bytes},
                                         {"interleaved_bytes", report.interleaved_bytes},
                                         {"expert_records", report.expert_records}};
    DS_RETURN_IF_ERROR(WriteStdout(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"));
  } else {
    DS_RETURN_IF_ERROR(WriteStdout(
        fmt::format("{}: {:.1f} MB of tensors, {:.1f} MB of them interleaved, {} expert records\n",
                    options.output, static_cast<double>(report.bytes) / 1e6,
                    static_cast<double>(report.interleaved_bytes) / 1e6, report.expert_records)));
  }
  return 0;
}

}  // namespace

Command AddRepack(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("repack", "Write a GGUF file in the kernels' layout, to start without loading");
  app->add_option("IN", options->input, "GGUF file, or a name that leads to one")->required();
  app->add_option("OUT", options->output, "File to write; give it to any command in place of IN")->required();
  app->add_flag("--force", options->force, "Replace OUT if it exists");
  AddCommonOptions(*app, kThreadsOption | kJsonOption | kQuietOption, options.get());
  app->footer(
      "Quantised weights are rearranged when a model is loaded; a repacked file has that done and is mapped "
      "as\n"
      "it is. Only Deepshock reads it. It is written beside OUT and renamed when it is whole.\n\n"
      "Examples:\n"
      "  deepshock repack model-q4_0.gguf model-q4_0.repacked.gguf\n"
      "  deepshock run model-q4_0.repacked.gguf --prompt Hello");
  return {app, [options] { return Repack(*options); }};
}

}  // namespace deepshock
