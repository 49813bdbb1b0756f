// SPDX-License-Identifier: Apache-2.0
// `deepshock convert`: a Hugging Face folder (or a GGUF file) as one GGUF file, re-encoded by class of
// tensor.
#include "runtime/convert.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>

#include "apps/common/terminal.h"
#include "apps/deepshock/commands.h"
#include "base/json.h"
#include "runtime/convert_tokenizer.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string input;
  std::string output;
  std::string types = "keep";
  bool force = false;
};

Status PrintReport(const ConvertReport& report, const Options& options) {
  if (options.json) {
    const nlohmann::ordered_json json = {{"output", options.output},
                                         {"tensor_bytes", report.bytes},
                                         {"bytes_by_type", report.bytes_by_type},
                                         {"fallbacks", report.fallbacks}};
    return WriteStdout(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  std::string types;
  for (const auto& [type, bytes] : report.bytes_by_type) {
    types += fmt::format("{}{} {:.1f} MB", types.empty() ? "" : ", ", type, static_cast<double>(bytes) / 1e6);
  }
  return WriteStdout(fmt::format("{}: {:.1f} MB of tensors: {}\n", options.output,
                                 static_cast<double>(report.bytes) / 1e6, types));
}

Result<int> Convert(const Options& options) {
  namespace fs = std::filesystem;
  DS_ASSIGN(const TypePlan types, TypePlan::Parse(options.types).WithContext("--type"));
  DS_ASSIGN(const std::string path, FindModelArgument(options.input));
  std::error_code error;
  if (fs::exists(options.output, error) && !options.force) {
    return Fail("{}: expected no file there, found one; --force replaces it", options.output);
  }
  if (fs::equivalent(path, options.output, error))
    return Fail("{}: expected another file than the input", options.output);
  DS_ASSIGN(Machine machine, MakeMachine(options));
  DS_ASSIGN(const auto model, Model::Load(path));
  CatchInterrupts();
  std::optional<Progress> bar;  // made when the size is known
  ConvertOptions convert;
  convert.types = types;
  convert.name = fs::path(path).lexically_normal().filename().string();
  convert.progress = [&](int64_t done, int64_t total) {
    if (!bar) bar.emplace("converting", total, options.quiet);
    bar->Update(done);
    return !Interrupted();
  };
  const auto set_tokenizer = [&](GgufWriter& writer) -> Status {
    if (fs::is_directory(path)) return SetTokenizerFromFolder(path, model->spec(), writer);
    DS_ASSIGN(const auto file, GgufFile::Open(path));
    return CopyTokenizer(*file, writer);
  };
  DS_ASSIGN(const ConvertReport report,
            ConvertToGguf(*model, *machine.pool, options.output, convert, set_tokenizer));
  if (bar) bar->Finish();
  if (!options.quiet && !report.fallbacks.empty()) {
    const size_t others = report.fallbacks.size() - 1;  // --json lists them all
    PrintWarning(others == 0 ? report.fallbacks[0]
                             : fmt::format("{}; so {} more tensors", report.fallbacks[0], others));
  }
  DS_RETURN_IF_ERROR(PrintReport(report, options));
  return 0;
}

}  // namespace

Command AddConvert(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("convert", "Write a checkpoint as one GGUF file, in the types you choose");
  app->add_option("IN", options->input, kModelHelp)->required();
  app->add_option("OUT", options->output, "GGUF file to write")->required();
  app->add_option(
         "--type", options->types,
         "Type of all matrices, or CLASS=TYPE pairs and a type for the rest, separated by commas. Classes: "
         "embedding, output, attention, dense, shared, experts, mtp. Types: f32, f16, bf16, q8_0, q4_0, "
         "mxfp4, "
         "q4_k, q6_k, keep. Norms, biases and routers are always f32")
      ->type_name("TYPES")
      ->capture_default_str();
  app->add_flag("--force", options->force, "Replace OUT if it exists");
  AddCommonOptions(*app, kThreadsOption | kJsonOption | kQuietOption, options.get());
  app->footer(
      "The file loads in llama.cpp too. It is written beside OUT and renamed when it is whole.\n\n"
      "Examples:\n"
      "  deepshock convert DeepSeek-V2-Lite v2-lite.gguf --type q8_0\n"
      "  deepshock convert tiny-moe tiny-moe.gguf --type experts=mxfp4,q8_0");
  return {app, [options] { return Convert(*options); }};
}

}  // namespace deepshock
