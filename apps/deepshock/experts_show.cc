// SPDX-License-Identifier: Apache-2.0
// `deepshock experts show`: one group as a heat map, in the terminal or as an image.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/common/terminal.h"
#include "apps/deepshock/experts.h"
#include "apps/deepshock/experts_view.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string model, name, groups, plot;
  SelectionFlags selection;
};

Result<int> Show(const Options& options) {
  DS_RETURN_IF_ERROR(CheckPlotName(options.plot).WithContext("--plot"));
  DS_ASSIGN(const NamedGroups named, LoadNamedGroups(options.model, options.groups));
  DS_ASSIGN(const ExpertGroup* found, named.file.Find(options.name).WithContext(named.path));
  ExpertGroup group = *found;
  ApplySelectionFlags(options.selection, &group.rule, &group.p);
  if (!options.plot.empty()) DS_RETURN_IF_ERROR(WritePlot(HeatMapImage(group), options.plot));
  DS_RETURN_IF_ERROR(
      WriteStdout(options.json ? GroupToJson(group) + "\n" : HeatMapText(group, StdoutLook())));
  return 0;
}

}  // namespace

Command AddExpertsShow(CLI::App& experts) {
  auto options = std::make_shared<Options>();
  CLI::App* app = experts.add_subcommand("show", "Show a group's profile as a heat map");
  app->add_option("MODEL", options->model, kModelHelp)->required();
  app->add_option("GROUP", options->name, "The group's name")->required();
  app->add_option("--plot", options->plot, "Image to write")->type_name("FILE.svg|FILE.png");
  AddSelectionOptions(*app, "the group's", "the group's", &options->selection);
  AddGroupsOption(*app, &options->groups);
  AddCommonOptions(*app, kJsonOption, options.get());
  app->footer(
      "Examples:\n"
      "  deepshock experts show models/tiny-moe.gguf code_expert\n"
      "  deepshock experts show models/tiny-moe.gguf code_expert --plot code.svg");
  return {app, [options] { return Show(*options); }};
}

}  // namespace deepshock
