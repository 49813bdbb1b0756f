// SPDX-License-Identifier: Apache-2.0
// `deepshock verify`: compare a checkpoint with reference outputs.
#include "runtime/verify.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "apps/deepshock/commands.h"
#include "base/json.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string model;
  std::string reference;
  VerifyOptions verify;
};

std::string ReferencePath(const Options& options, const std::string& model) {
  namespace fs = std::filesystem;
  if (!options.reference.empty()) return options.reference;
  const fs::path path(model);
  return ((fs::is_directory(path) ? path : path.parent_path()) / "golden.safetensors").string();
}

std::string FormatText(const std::vector<VerifyCheck>& checks, const std::string& model) {
  std::string text;
  int failed = 0;
  for (const VerifyCheck& check : checks) {
    failed += check.passed ? 0 : 1;
    text +=
        fmt::format("{}  {:<26} {}\n", check.passed ? "ok  " : "FAIL", check.name,
                    check.tolerance > 0 ? fmt::format("largest error {:.2e} (at most {:.0e}), {}",
                                                      check.max_error, check.tolerance, check.detail)
                                        : fmt::format("{:.0f} differ, {}", check.max_error, check.detail));
  }
  text += failed == 0 ? fmt::format("{}: all {} checks passed\n", model, checks.size())
                      : fmt::format("{}: {} of {} checks failed\n", model, failed, checks.size());
  return text;
}

std::string FormatJson(const std::vector<VerifyCheck>& checks, const std::string& model) {
  nlohmann::ordered_json json = {
      {"model", model}, {"passed", true}, {"checks", nlohmann::ordered_json::array()}};
  for (const VerifyCheck& check : checks) {
    if (!check.passed) json["passed"] = false;
    json["checks"].push_back({{"name", check.name},
                              {"passed", check.passed},
                              {"max_error", check.max_error},
                              {"tolerance", check.tolerance},
                              {"detail", check.detail}});
  }
  return json.dump() + "\n";
}

Result<int> Verify(const Options& options) {
  DS_ASSIGN(const std::string path, FindModelArgument(options.model));
  DS_ASSIGN(Machine machine, MakeMachine(options));
  DS_ASSIGN(const auto golden, SafetensorsFile::Open(ReferencePath(options, path)));
  DS_ASSIGN(const auto model, Model::Load(path));
  DS_ASSIGN(const auto checks,
            VerifyModel(*model, *machine.compute, *golden, options.verify).WithContext(golden->path()));
  DS_RETURN_IF_ERROR(WriteStdout(options.json ? FormatJson(checks, path) : FormatText(checks, path)));
  const bool passed =
      std::all_of(checks.begin(), checks.end(), [](const VerifyCheck& c) { return c.passed; });
  return passed ? 0 : 1;
}

}  // namespace

Command AddVerify(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("verify", "Compare a checkpoint with reference outputs, line by line");
  app->add_option("MODEL", options->model, kModelHelp)->required();
  app->add_option("--reference", options->reference,
                  "Reference outputs (default: golden.safetensors beside the checkpoint)")
      ->type_name("FILE");
  app->add_option("--tolerance", options->verify.logit_tolerance, "Largest absolute error of a logit")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  AddCommonOptions(*app, kComputeOptions | kJsonOption | kQuietOption, options.get());
  app->footer(
      "Prints a line for each check and exits with 1 when one fails.\n\n"
      "Examples:\n"
      "  deepshock verify ../shared/conformance/deepseek_v3\n"
      "  deepshock verify converted.gguf --reference ../shared/conformance/deepseek_v3/golden.safetensors");
  return {app, [options] { return Verify(*options); }};
}

}  // namespace deepshock
