// SPDX-License-Identifier: Apache-2.0
// `deepshock experts`: the tree of commands about named groups of experts, and what they share.
#include "apps/deepshock/experts.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "base/output_file.h"
#include "model/fingerprint.h"
#include "model/repacked.h"
#include "runtime/model_groups.h"

namespace deepshock {

std::vector<Command> AddExperts(CLI::App& program) {
  CLI::App* experts =
      program.add_subcommand("experts", "Name, see, compare and select groups of experts; replay traces");
  experts->require_subcommand(1);
  experts->footer(
      "A group is a profile of what a model's routers choose on some text, under a name. A model's groups "
      "are\n"
      "kept in one file beside it.\n\n"
      "Examples:\n"
      "  deepshock experts list\n"
      "  deepshock experts show models/tiny-moe.gguf code_expert\n"
      "  deepshock experts profile MODEL --data code.jsonl --name code_expert\n"
      "deepshock experts COMMAND --help tells a command's options.");
  CLI::App* trace = experts->add_subcommand("trace", "Read a route trace (--trace_experts)");
  trace->require_subcommand(1);
  return {AddExpertsProfile(*experts), AddExpertsList(*experts),    AddExpertsShow(*experts),
          AddExpertsCompare(*experts), AddExpertsSelect(*experts),  AddExpertsImportEsft(*experts),
          AddExpertsReplay(*experts),  AddExpertsTraceShow(*trace), AddExpertsTraceExport(*trace)};
}

Result<std::unique_ptr<Model>> LoadToLookAt(const std::string& path) {
  // A repacked file loads for activations in 8 bits only, and at once; others need no rearranging to be
  // looked at.
  ThreadPool pool(1);
  LoadOptions load;
  if (path.ends_with(".gguf")) {
    DS_ASSIGN(const auto gguf, GgufFile::Open(path));
    load.interleave = IsRepacked(*gguf);
    load.pool = &pool;
  }
  return Model::Load(path, load);
}

Result<NamedGroups> LoadNamedGroups(const std::string& model, const std::string& groups) {
  NamedGroups named;
  DS_ASSIGN(named.model_path, FindModelArgument(model));
  named.path = groups.empty() ? FindGroupsPath(named.model_path) : groups;
  std::error_code ignored;
  if (!std::filesystem::exists(named.path, ignored)) {
    return Fail(
        "{}: not there: the model has no groups yet; make one: deepshock experts profile {} --data "
        "FILE.jsonl --name NAME",
        named.path, named.model_path);
  }
  DS_ASSIGN(const auto loaded, LoadToLookAt(named.model_path));
  DS_ASSIGN(named.file, LoadGroups(named.path, loaded->spec(), loaded->weights()));
  return named;
}

void AddGroupsOption(CLI::App& app, std::string* groups) {
  app.add_option("--groups", *groups, "File of the model's groups (default: the one beside the model)")
      ->type_name("FILE.json");
}

void AddSelectionOptions(CLI::App& app, const std::string& default_rule, const std::string& default_p,
                         SelectionFlags* flags) {
  app.add_option(
         "--rule", flags->rule,
         "How a set follows from a profile: esft-token by share of selections, esft-gate by mean gate "
         "weight (default: " +
             default_rule + ")")
      ->check(CLI::IsMember({"esft-token", "esft-gate"}));
  app.add_option("--p", flags->p,
                 "The best experts of each layer are taken until their scores sum to this (default: " +
                     default_p + ")")
      ->check(CLI::Range(1e-6, 1e6));
}

void ApplySelectionFlags(const SelectionFlags& flags, SelectionRule* rule, double* p) {
  if (!flags.rule.empty()) *rule = SelectionRuleByName(flags.rule).value();
  if (flags.p > 0) *p = flags.p;
}

std::string DescribeSize(const ExpertSelection& selection) {
  size_t least = SIZE_MAX, most = 0;
  for (const LayerSelection& layer : selection.layers) {
    least = std::min(least, layer.experts.size());
    most = std::max(most, layer.experts.size());
  }
  const int64_t all = static_cast<int64_t>(selection.layers.size()) * selection.num_experts;
  if (selection.layers.empty()) return "no experts";
  return fmt::format("{} of {} experts, {} a layer", selection.size(), all,
                     least == most ? std::to_string(least) : fmt::format("{} to {}", least, most));
}

Status WriteOutput(const std::string& path, std::string_view text) {
  DS_ASSIGN(OutputFile file, OutputFile::Create(path));
  DS_RETURN_IF_ERROR(file.Write(text));
  return file.Commit();
}

}  // namespace deepshock
