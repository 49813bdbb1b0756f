// SPDX-License-Identifier: Apache-2.0
// `deepshock experts import-esft`: published score files of Expert-Specialized Fine-Tuning to scores and
// selections.
#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

#include "apps/common/terminal.h"
#include "apps/deepshock/experts.h"
#include "base/json.h"
#include "experts/esft.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string folder, output, scores;
  SelectionFlags selection;
  int num_experts = 64;
  int top_k = 6;
};

struct Imported {
  int num_files = 0;
  int64_t num_tokens = 0;
  SelectionRule rule;
  double p;
  ExpertSelection selection;
  std::optional<SplitHalf> split_half;
};

// "layer 7: expert 12 was taken, 15 and 20 score the same"
std::string FormatTies(const ExpertSelection& selection) {
  std::string text;
  for (const LayerSelection& layer : selection.layers) {
    if (layer.tied.empty()) continue;
    text += fmt::format("  layer {}: {} was taken, {} score{} the same\n", layer.layer, layer.experts.back(),
                        fmt::join(layer.tied, ", "), layer.tied.size() == 1 ? "s" : "");
  }
  return text;
}

std::string FormatText(const Imported& result, const Options& options) {
  const ExpertSelection& selection = result.selection;
  std::string text = fmt::format("scores      {} layers, {} tokens\n", result.num_files, result.num_tokens);
  text += fmt::format("selection   {} {}: {}\n", Name(result.rule), result.p, DescribeSize(selection));
  text += fmt::format("same for    p above {:.4f}, up to {}\n", selection.p_above,
                      std::isinf(selection.p_upto) ? "any" : fmt::format("{:.4f}", selection.p_upto));
  if (result.split_half) {
    text += fmt::format("split half  selections agree with Jaccard {:.3f}, shares correlate {:.4f}\n",
                        result.split_half->jaccard, result.split_half->correlation);
  }
  const std::string ties = FormatTies(selection);
  text += "ties        " + (ties.empty() ? "none decided by id\n" : "decided by the lower id\n" + ties);
  if (!options.scores.empty()) text += "wrote       " + options.scores + "\n";
  if (!options.output.empty()) text += "wrote       " + options.output + "\n";
  return text;
}

std::string FormatJson(const Imported& result) {
  using OrderedJson = nlohmann::ordered_json;
  OrderedJson ties = OrderedJson::object(), sets = OrderedJson::object();
  for (const LayerSelection& layer : result.selection.layers) {
    sets[std::to_string(layer.layer)] = layer.experts;
    if (!layer.tied.empty()) ties[std::to_string(layer.layer)] = layer.tied;
  }
  OrderedJson json = {{"layers", result.num_files},
                      {"num_tokens", result.num_tokens},
                      {"rule", Name(result.rule)},
                      {"p", result.p},
                      {"p_above", result.selection.p_above},
                      {"p_upto", result.selection.p_upto},  // null: any
                      {"num_selected", result.selection.size()}};
  if (result.split_half) {
    json["split_half"] = {{"jaccard", result.split_half->jaccard},
                          {"correlation", result.split_half->correlation}};
  }
  json["ties"] = ties;
  json["experts"] = sets;
  return json.dump(2) + "\n";
}

Result<int> ImportEsft(const Options& options) {
  DS_ASSIGN(Machine machine, MakeMachine(options));
  DS_ASSIGN(const ScoreFolder folder,
            ReadScoreFolder(options.folder, options.num_experts, options.top_k, *machine.pool));
  Imported result{folder.num_files, 0, SelectionRule::kEsftToken, 0.2, {}, {}};
  ApplySelectionFlags(options.selection, &result.rule, &result.p);
  const ExpertProfile profile = folder.counts.Both().Profile();
  result.selection = SelectExperts(profile, result.rule, result.p);
  const ExpertGroup measured = MeasureGroup(folder.counts, result.rule, result.p);
  result.num_tokens = measured.num_tokens;
  result.split_half = measured.split_half;
  if (!options.scores.empty()) DS_RETURN_IF_ERROR(WriteOutput(options.scores, EsftSummaryJson(profile)));
  if (!options.output.empty())
    DS_RETURN_IF_ERROR(WriteOutput(options.output, EsftConfigJson(result.selection)));
  DS_RETURN_IF_ERROR(WriteStdout(options.json ? FormatJson(result) : FormatText(result, options)));
  return 0;
}

}  // namespace

Command AddExpertsImportEsft(CLI::App& experts) {
  auto options = std::make_shared<Options>();
  CLI::App* app = experts.add_subcommand(
      "import-esft", "Turn score files of Expert-Specialized Fine-Tuning into its scores and selections");
  app->add_option("SCORES_DIR", options->folder, "Folder of expert_weights_<layer>.txt")->required();
  AddSelectionOptions(*app, "esft-token", "0.2", &options->selection);
  app->add_option("--output", options->output, "Selection to write, in the published form")
      ->type_name("CONFIG.json");
  app->add_option("--scores", options->scores, "Scores to write, in the published form")
      ->type_name("SUMMARY.json");
  app->add_option("--num_experts,--num-experts", options->num_experts, "Routed experts a layer")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 16));
  app->add_option("--top_k,--top-k", options->top_k, "Experts chosen for a token")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 10));
  AddCommonOptions(*app, kThreadsOption | kJsonOption | kQuietOption, options.get());
  app->footer(
      "The defaults are DeepSeek-V2-Lite's and the publication's. Scores are rounded to 4 decimals before "
      "anything\n"
      "is selected, and ties go to the lower id, as in the published selections.\n\n"
      "Examples:\n"
      "  deepshock experts import-esft scores/law --rule esft-token --p 0.2 --output law.json\n"
      "  deepshock experts import-esft scores/law --scores summary.json");
  return {app, [options] { return ImportEsft(*options); }};
}

}  // namespace deepshock
