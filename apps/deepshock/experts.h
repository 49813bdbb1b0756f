// SPDX-License-Identifier: Apache-2.0
// `deepshock experts COMMAND`: each COMMAND lives in its own file experts_<name>.cc, adds its CLI::App to
// `experts` and returns what to run, as in commands.h. A new one is declared here and gets its line in
// experts.cc.
#pragma once

#include <memory>
#include <string>

#include "apps/deepshock/commands.h"
#include "experts/groups.h"
#include "model/model.h"

namespace deepshock {

Command AddExpertsProfile(CLI::App& experts);
Command AddExpertsList(CLI::App& experts);
Command AddExpertsShow(CLI::App& experts);
Command AddExpertsCompare(CLI::App& experts);
Command AddExpertsSelect(CLI::App& experts);
Command AddExpertsImportEsft(CLI::App& experts);
Command AddExpertsReplay(CLI::App& experts);
Command AddExpertsTraceShow(CLI::App& trace);
Command AddExpertsTraceExport(CLI::App& trace);

// -- what several of them share (experts.cc)
// -------------------------------------------------------------------

// The groups of a model, as the user named both.
struct NamedGroups {
  std::string model_path;
  std::string path;  // of the groups file
  GroupsFile file;
};
// A model for its routers' sake; nothing is computed with it.
Result<std::unique_ptr<Model>> LoadToLookAt(const std::string& path);
// `groups`: --groups, empty for the file beside the model. Fails with what to do when there is none.
Result<NamedGroups> LoadNamedGroups(const std::string& model, const std::string& groups);

void AddGroupsOption(CLI::App& app, std::string* groups);

// --rule and --p over a group's own.
struct SelectionFlags {
  std::string rule;
  double p = 0;  // 0: not given
};
void AddSelectionOptions(CLI::App& app, const std::string& default_rule, const std::string& default_p,
                         SelectionFlags* flags);
void ApplySelectionFlags(const SelectionFlags& flags, SelectionRule* rule, double* p);

// "24 of 224 experts, 3 to 5 a layer"
std::string DescribeSize(const ExpertSelection& selection);

// Writes a file beside its name and renames it.
Status WriteOutput(const std::string& path, std::string_view text);

}  // namespace deepshock
