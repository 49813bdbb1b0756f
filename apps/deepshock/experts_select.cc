// SPDX-License-Identifier: Apache-2.0
// `deepshock experts select`: the set of experts that follows from a group's profile.
#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

#include "apps/deepshock/experts.h"
#include "experts/esft.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string model, name, groups, output;
  SelectionFlags selection;
};

std::string FormatText(const ExpertGroup& group, SelectionRule rule, double p,
                       const ExpertSelection& selection) {
  std::string text =
      fmt::format("{}, {} {}: {}; {:.1f} % of the selections on its own text\n", group.name, Name(rule), p,
                  DescribeSize(selection), 100 * Coverage(selection, group.profile));
  for (const LayerSelection& layer : selection.layers) {
    text += fmt::format("layer {:>2}  {}\n", layer.layer, fmt::join(layer.experts, " "));
  }
  return text + fmt::format("the same for p above {:.4f}, up to {}\n", selection.p_above,
                            std::isinf(selection.p_upto) ? "any" : fmt::format("{:.4f}", selection.p_upto));
}

Result<int> Select(const Options& options) {
  DS_ASSIGN(const NamedGroups named, LoadNamedGroups(options.model, options.groups));
  DS_ASSIGN(const ExpertGroup* group, named.file.Find(options.name).WithContext(named.path));
  SelectionRule rule = group->rule;
  double p = group->p;
  ApplySelectionFlags(options.selection, &rule, &p);
  const ExpertSelection selection = SelectExperts(group->profile, rule, p);
  if (!options.output.empty()) DS_RETURN_IF_ERROR(WriteOutput(options.output, EsftConfigJson(selection)));
  DS_RETURN_IF_ERROR(
      WriteStdout(options.json ? EsftConfigJson(selection) + "\n" : FormatText(*group, rule, p, selection)));
  return 0;
}

}  // namespace

Command AddExpertsSelect(CLI::App& experts) {
  auto options = std::make_shared<Options>();
  CLI::App* app = experts.add_subcommand("select", "Print the experts that a group stands for");
  app->add_option("MODEL", options->model, kModelHelp)->required();
  app->add_option("GROUP", options->name, "The group's name")->required();
  AddSelectionOptions(*app, "the group's", "the group's", &options->selection);
  app->add_option("--output", options->output,
                  "Selection to write, in the form that Expert-Specialized Fine-Tuning publishes")
      ->type_name("CONFIG.json");
  AddGroupsOption(*app, &options->groups);
  AddCommonOptions(*app, kJsonOption, options.get());
  app->footer(
      "Each layer's experts stand in the order taken: the highest score first. --json prints what --output "
      "writes.\n\n"
      "Examples:\n"
      "  deepshock experts select models/tiny-moe.gguf code_expert\n"
      "  deepshock experts select MODEL code_expert --rule esft-gate --p 0.3 --output code.json");
  return {app, [options] { return Select(*options); }};
}

}  // namespace deepshock
