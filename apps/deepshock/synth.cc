// SPDX-License-Identifier: Apache-2.0
// `deepshock synth`: a GGUF file with random weights in a published model's shape.
#include "runtime/synth.h"

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
  std::string output;
  std::string shape = "deepseek-v2-lite";
  std::string types = "q4_0";
  uint64_t seed = 1;
  int num_layers = 0;
  bool force = false;
};

Status PrintReport(const SynthReport& report, const Options& options) {
  if (options.json) {
    const nlohmann::ordered_json json = {
        {"output", options.output},     {"shape", options.shape},
        {"seed", options.seed},         {"parameters", report.parameters},
        {"tensor_bytes", report.bytes}, {"bytes_by_type", report.bytes_by_type}};
    return WriteStdout(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  std::string types;
  for (const auto& [type, bytes] : report.bytes_by_type) {
    types += fmt::format("{}{} {:.1f} MB", types.empty() ? "" : ", ", type, static_cast<double>(bytes) / 1e6);
  }
  return WriteStdout(fmt::format("{}: {:.2f} B parameters, {:.1f} MB of tensors: {}\n", options.output,
                                 static_cast<double>(report.parameters) / 1e9,
                                 static_cast<double>(report.bytes) / 1e6, types));
}

Result<int> Synth(const Options& options) {
  DS_ASSIGN(const SynthTypes types, SynthTypes::Parse(options.types).WithContext("--type"));
  DS_ASSIGN(const ModelSpec spec, SynthSpec(options.shape, options.num_layers));
  std::error_code error;
  if (std::filesystem::exists(options.output, error) && !options.force) {
    return Fail("{}: expected no file there, found one; --force replaces it", options.output);
  }
  DS_ASSIGN(Machine machine, MakeMachine(options));
  CatchInterrupts();
  std::optional<Progress> bar;
  SynthOptions synth;
  synth.name = fmt::format("{} with random weights, {}", options.shape, options.types);
  synth.seed = options.seed;
  synth.progress = [&](int64_t done, int64_t total) {
    constexpr int64_t kMegabyte = 1000000;
    if (!bar) bar.emplace("MB written", total / kMegabyte, options.quiet);
    bar->Update(done / kMegabyte);
    return !Interrupted();
  };
  DS_ASSIGN(const SynthReport report, WriteSynth(spec, types, synth, *machine.pool, options.output));
  if (bar) bar->Finish();
  DS_RETURN_IF_ERROR(PrintReport(report, options));
  return 0;
}

}  // namespace

Command AddSynth(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand(
      "synth", "Write a model with random weights in a published shape, to measure speed without a download");
  app->add_option("OUT", options->output, "GGUF file to write")->required();
  std::string shapes = "Shape:";
  for (const SynthShape& shape : SynthShapes()) shapes += fmt::format("\n{}: {}", shape.name, shape.summary);
  app->add_option("--shape", options->shape, shapes)->type_name("NAME")->capture_default_str();
  app->add_option(
         "--type", options->types,
         "Type of all matrices (f32, f16, bf16, mxfp4, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, "
         "q6_k, q8_0), a mixture (q4_k_m, q5_k_m), or CLASS=TYPE pairs and a type for the rest, separated "
         "by commas. Classes: embedding, output, attention, dense, shared, experts, mtp. Norms, biases "
         "and routers are always f32")
      ->type_name("TYPES")
      ->capture_default_str();
  app->add_option("--seed", options->seed, "The same seed gives the same file")->capture_default_str();
  app->add_option("--layers", options->num_layers, "Write only the first N layers (default: all)")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 16));
  app->add_flag("--force", options->force, "Replace OUT if it exists");
  AddCommonOptions(*app, kThreadsOption | kJsonOption | kQuietOption, options.get());
  app->footer(
      "The text that such a model writes is noise; its speed is that of the published model. llama.cpp loads "
      "the\n"
      "file too. It is written beside OUT and renamed when it is whole.\n\n"
      "Examples:\n"
      "  deepshock synth v2-lite.gguf --shape deepseek-v2-lite --type q4_0\n"
      "  deepshock synth oss.gguf --shape gpt-oss-20b --type experts=mxfp4,q8_0\n"
      "  deepshock synth v3-part.gguf --shape deepseek-v3 --type q4_k_m --layers 6");
  return {app, [options] { return Synth(*options); }};
}

}  // namespace deepshock
