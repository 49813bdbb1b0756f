// SPDX-License-Identifier: Apache-2.0
#include "apps/common/expert_options.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "apps/common/program.h"
#include "apps/common/terminal.h"
#include "base/byte_size.h"

namespace deepshock {

void AddExpertOptions(CLI::App& app, ExpertFlags* flags) {
  app.add_option("--warmup_experts,--warmup-experts", flags->warmup,
                 "Groups of experts to load first, in the order of their profiles, separated by commas")
      ->type_name("NAMES");
  app.add_option("--pin_experts,--pin-experts", flags->pin,
                 "Groups of experts, or single ones as LAYER:EXPERT, that never leave memory")
      ->type_name("NAMES");
  app.add_option(
         "--expert_policy,--expert-policy", flags->policy,
         "Who stays under a memory limit: lru, frequency, profile (of the groups to load first), or auto")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "lru", "frequency", "profile"}));
  app.add_option("--groups", flags->groups, "File of the model's groups (default: the one beside the model)")
      ->type_name("FILE.json");
  app.add_option("--warm_set,--warm-set", flags->warm_set,
                 "Load the experts first that the last run with this file found useful; updated at the end")
      ->type_name("FILE.json");
}

std::vector<std::string> SplitNames(const std::string& list) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin < list.size();) {
    const size_t comma = std::min(list.find(',', begin), list.size());
    std::string name = list.substr(begin, comma - begin);
    name.erase(0, name.find_first_not_of(" \t"));
    name.erase(name.find_last_not_of(" \t") + 1);
    if (!name.empty()) names.push_back(std::move(name));
    begin = comma + 1;
  }
  return names;
}

std::string DescribeExperts(const ExpertReport& report) {
  std::string text;
  if (report.wanted > 0 && report.from_disk) {
    text = fmt::format("warm-up: {} of {} experts loaded, {} in {}", report.loaded, report.wanted,
                       FormatByteSize(report.loaded_bytes), FormatSeconds(report.seconds));
    if (report.loaded < report.wanted) text += fmt::format("; {} did not fit", report.wanted - report.loaded);
    for (const ExpertReport::Group& group : report.groups) {
      text += fmt::format("; {:.0f} % of what {} uses", 100 * group.covered, group.name);
    }
  } else if (report.wanted > 0) {
    text = fmt::format("warm-up: all experts are in memory without a limit; {} touched in {}",
                       FormatByteSize(report.loaded_bytes), FormatSeconds(report.seconds));
  }
  if (report.pinned > 0) {
    if (!text.empty()) text += "; ";
    text += report.from_disk
                ? fmt::format("{} pinned ({})", report.pinned, FormatByteSize(report.pinned_bytes))
                : fmt::format("{} pinned, as all are", report.pinned);
  }
  if (report.from_disk) text += fmt::format("{}policy {}", text.empty() ? "experts: " : "; ", report.policy);
  return text;
}

Status PrepareExperts(const ExpertFlags& flags, bool quiet, Engine& engine) {
  const bool nothing =
      flags.warmup.empty() && flags.pin.empty() && flags.policy == "auto" && flags.warm_set.empty();
  if (nothing) return {};
  ExpertOptions options;
  options.policy = flags.policy;
  options.warmup = SplitNames(flags.warmup);
  options.pin = SplitNames(flags.pin);
  options.warm_set_path = flags.warm_set;
  std::optional<Progress> bar;
  options.progress = [&](int64_t done, int64_t total) {
    if (!bar) bar.emplace("Warming up experts", total, quiet);
    bar->Update(done);
    return !Interrupted();
  };
  Result<ExpertReport> report = engine.PrepareExperts(options);
  bar.reset();
  if (!report.ok()) return report.status();
  if (!flags.warm_set.empty() && !report->from_disk && !quiet) {
    PrintWarning("--warm_set: all experts are in memory without a limit: there is no warm set to keep");
  }
  const std::string text = DescribeExperts(*report);
  if (!quiet && !text.empty()) std::fprintf(stderr, "[%s]\n", text.c_str());
  return {};
}

Status SaveWarmSet(const ExpertFlags& flags, const Engine& engine) {
  const std::optional<MemoryUse> use = engine.memory_use();
  if (flags.warm_set.empty() || !use || use->num_experts == 0) return {};
  return engine.SaveWarmSet(flags.warm_set);
}

}  // namespace deepshock
