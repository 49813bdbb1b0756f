// SPDX-License-Identifier: Apache-2.0
// `deepshock experts list`: the groups of a model.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/common/terminal.h"
#include "apps/deepshock/experts.h"
#include "base/json.h"
#include "base/utf8.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string model, groups;
};

// Whole letters of it, so that a row stays readable; `experts show` prints all.
std::string Shortened(const std::string& text) {
  constexpr size_t kBytes = 48;
  if (text.size() <= kBytes) return text;
  return text.substr(0, CompleteUtf8Prefix(std::string_view(text).substr(0, kBytes))) + "...";
}

std::string FormatText(const NamedGroups& named) {
  size_t width = 5;
  for (const ExpertGroup& group : named.file.groups) width = std::max(width, group.name.size());
  std::string text = fmt::format("{:<{}}  {:>8}  {:>14}  {:>7}  {:>10}  {:>20}  {}\n", "group", width,
                                 "tokens", "rule, p", "experts", "split half", "held out", "data");
  for (const ExpertGroup& group : named.file.groups) {
    const ExpertSelection selection = group.Select();
    const std::string split = group.split_half ? fmt::format("{:.2f}", group.split_half->jaccard) : "-";
    const std::string held = group.held_out && group.held_out->chance > 0
                                 ? fmt::format("{:.1f} %, {:.2f}x chance", 100 * group.held_out->coverage,
                                               group.held_out->coverage / group.held_out->chance)
                                 : "-";
    text += fmt::format("{:<{}}  {:>8}  {:>14}  {:>7}  {:>10}  {:>20}  {}\n", group.name, width,
                        group.num_tokens, fmt::format("{} {}", Name(group.rule), group.p), selection.size(),
                        split, held, Shortened(SafeForTerminal(group.data)));
  }
  const ModelFingerprint& model = named.file.model;
  return text + fmt::format("{} groups of {} layers with {} experts, {} chosen, in {}\n",
                            named.file.groups.size(), model.routers.size(), model.num_experts, model.top_k,
                            named.path);
}

std::string FormatJson(const NamedGroups& named) {
  using OrderedJson = nlohmann::ordered_json;
  OrderedJson list = OrderedJson::array();
  for (const ExpertGroup& group : named.file.groups) {
    OrderedJson entry = {
        {"name", group.name},       {"data", group.data}, {"num_tokens", group.num_tokens},
        {"rule", Name(group.rule)}, {"p", group.p},       {"num_experts", group.Select().size()}};
    if (group.split_half) {
      entry["split_half"] = {{"jaccard", group.split_half->jaccard},
                             {"correlation", group.split_half->correlation}};
    }
    if (group.held_out) {
      const HeldOutScore& h = *group.held_out;
      entry["held_out"] = {{"data", h.data},
                           {"num_tokens", h.num_tokens},
                           {"coverage", h.coverage},
                           {"chance", h.chance},
                           {"best", h.best}};
    }
    list.push_back(std::move(entry));
  }
  const OrderedJson json = {{"file", named.path}, {"groups", std::move(list)}};
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

Result<int> List(const Options& options) {
  DS_ASSIGN(const NamedGroups named, LoadNamedGroups(options.model, options.groups));
  DS_RETURN_IF_ERROR(WriteStdout(options.json ? FormatJson(named) : FormatText(named)));
  return 0;
}

}  // namespace

Command AddExpertsList(CLI::App& experts) {
  auto options = std::make_shared<Options>();
  CLI::App* app = experts.add_subcommand("list", "List the groups of a model");
  app->add_option("MODEL", options->model, std::string(kModelHelp) + " (default: the embedded model)");
  AddGroupsOption(*app, &options->groups);
  AddCommonOptions(*app, kJsonOption, options.get());
  app->footer(
      "split half: how well the sets of the data's halves agree (Jaccard). held out: share of the selections "
      "on\n"
      "other text that the set holds, and how many times what as many random experts would.\n\n"
      "Examples:\n"
      "  deepshock experts list\n"
      "  deepshock experts list MODEL --json | jq -r '.groups[].name'");
  return {app, [options] { return List(*options); }};
}

}  // namespace deepshock
