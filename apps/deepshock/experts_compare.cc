// SPDX-License-Identifier: Apache-2.0
// `deepshock experts compare`: how far the groups of a model overlap.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/common/terminal.h"
#include "apps/deepshock/experts.h"
#include "apps/deepshock/experts_view.h"
#include "base/json.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string model, groups, plot;
  std::vector<std::string> names;
};

Comparison Compare(const std::vector<const ExpertGroup*>& groups) {
  Comparison c;
  std::vector<ExpertSelection> sets;
  for (const ExpertGroup* group : groups) {
    c.names.push_back(group->name);
    sets.push_back(group->Select());
    c.chance.push_back(ChanceCoverage(sets.back()));
  }
  for (size_t row = 0; row < groups.size(); ++row) {
    for (size_t col = 0; col < groups.size(); ++col) {
      c.overlap.push_back(MeanJaccard(sets[row], sets[col]));
      c.coverage.push_back(Coverage(sets[col], groups[row]->profile));
      c.correlation.push_back(Correlation(groups[row]->profile, groups[col]->profile));
    }
  }
  return c;
}

std::string FormatJson(const Comparison& c) {
  using OrderedJson = nlohmann::ordered_json;
  const auto matrix = [&](const std::vector<double>& values) {
    OrderedJson rows = OrderedJson::array();
    for (size_t row = 0; row < c.names.size(); ++row) {
      const auto begin = values.begin() + static_cast<int64_t>(row * c.names.size());
      rows.push_back(std::vector<double>(begin, begin + static_cast<int64_t>(c.names.size())));
    }
    return rows;
  };
  const OrderedJson json = {{"groups", c.names},
                            {"jaccard", matrix(c.overlap)},
                            {"coverage", matrix(c.coverage)},
                            {"chance", c.chance},
                            {"correlation", matrix(c.correlation)}};
  return json.dump(2) + "\n";
}

Result<int> RunCompare(const Options& options) {
  DS_RETURN_IF_ERROR(CheckPlotName(options.plot).WithContext("--plot"));
  DS_ASSIGN(const NamedGroups named, LoadNamedGroups(options.model, options.groups));
  std::vector<const ExpertGroup*> groups;
  for (const std::string& name : options.names) {
    DS_ASSIGN(const ExpertGroup* group, named.file.Find(name).WithContext(named.path));
    groups.push_back(group);
  }
  if (options.names.empty()) {
    for (const ExpertGroup& group : named.file.groups) groups.push_back(&group);
  }
  if (groups.empty()) return Fail("{}: expected groups to compare, found none", named.path);
  const Comparison comparison = Compare(groups);
  if (!options.plot.empty()) DS_RETURN_IF_ERROR(WritePlot(ComparisonImage(comparison), options.plot));
  DS_RETURN_IF_ERROR(WriteStdout(options.json ? FormatJson(comparison) : ComparisonText(comparison)));
  return 0;
}

}  // namespace

Command AddExpertsCompare(CLI::App& experts) {
  auto options = std::make_shared<Options>();
  CLI::App* app = experts.add_subcommand("compare", "Compare the groups of a model");
  app->add_option("MODEL", options->model, std::string(kModelHelp) + " (default: the embedded model)");
  app->add_option("GROUPS", options->names, "Names of groups (default: all)");
  app->add_option("--plot", options->plot, "Image to write")->type_name("FILE.svg|FILE.png");
  AddGroupsOption(*app, &options->groups);
  AddCommonOptions(*app, kJsonOption, options.get());
  app->footer(
      "Examples:\n"
      "  deepshock experts compare models/tiny-moe.gguf\n"
      "  deepshock experts compare MODEL code_expert zh_expert --plot overlap.png");
  return {app, [options] { return RunCompare(*options); }};
}

}  // namespace deepshock
