// SPDX-License-Identifier: Apache-2.0
// `deepshock experts trace`: reads route traces: a summary, and export as JSON Lines or CSV.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/deepshock/experts.h"
#include "base/output_file.h"
#include "experts/groups.h"
#include "experts/routing_counters.h"
#include "experts/trace.h"

namespace deepshock {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct ShowOptions : CommonOptions {
  std::string trace;
  std::string groups;
};

struct ExportOptions {
  std::string trace;
  std::string format = "jsonl";
  std::string output;
};

const char* PhaseName(RoutingPhase phase) { return phase == RoutingPhase::kPrefill ? "prefill" : "decode"; }

// Counts, and what a trace tells besides.
class Summary final : public RoutingSink {
 public:
  Summary(const RoutingShape& shape, std::shared_ptr<const GroupMasks> groups) : counters_(shape, groups) {}
  void OnStep(const RoutingStep& step) override {
    ++num_steps;
    num_pass_rows += step.num_pass_rows;
    for (const RoutedRow& row : step.rows) requests.insert(row.request);
    counters_.OnStep(step);
  }
  RoutingSnapshot Snapshot() const { return counters_.Snapshot(); }

  int64_t num_steps = 0, num_pass_rows = 0;
  std::set<uint64_t> requests;

 private:
  RoutingCounters counters_;
};

OrderedJson SnapshotJson(const RoutingSnapshot& snapshot) {
  OrderedJson layers = OrderedJson::array(), groups = OrderedJson::object();
  for (const RoutingSnapshot::Layer& layer : snapshot.layers) {
    layers.push_back({{"layer", layer.layer},
                      {"load_balance", layer.LoadBalance()},
                      {"prefill", layer.prefill},
                      {"decode", layer.decode}});
  }
  const auto all = static_cast<double>(std::max<int64_t>(1, snapshot.selections));
  for (const RoutingSnapshot::Group& group : snapshot.groups) {
    groups[group.name] = {{"selections", group.selections},
                          {"share", static_cast<double>(group.selections) / all}};
  }
  OrderedJson json = {{"prefill_tokens", snapshot.prefill_tokens},
                      {"decode_tokens", snapshot.decode_tokens},
                      {"selections", snapshot.selections},
                      {"layers", std::move(layers)}};
  if (snapshot.groups.empty()) return json;
  json["groups"] = std::move(groups);
  json["conflict_ratio"] = snapshot.ConflictRatio();
  return json;
}

Result<int> Show(const ShowOptions& options) {
  DS_ASSIGN(const auto reader, TraceReader::Open(options.trace));
  const TraceHeader& header = reader->header();
  std::shared_ptr<GroupMasks> masks;
  if (!options.groups.empty()) {
    DS_ASSIGN(const GroupsFile groups, GroupsFile::Load(options.groups));
    masks = std::make_shared<GroupMasks>(header.shape);
    DS_RETURN_IF_ERROR(AddGroups(groups, masks.get()).WithContext(options.groups));
  }
  Summary summary(header.shape, masks);
  DS_RETURN_IF_ERROR(reader->Replay(summary));
  const RoutingSnapshot snapshot = summary.Snapshot();
  if (options.json) {
    OrderedJson json = {{"model", header.model},
                        {"fingerprint", header.fingerprint},
                        {"experts", header.shape.num_experts},
                        {"experts_per_token", header.shape.num_chosen},
                        {"passes", summary.num_steps},
                        {"rows_computed", summary.num_pass_rows},
                        {"requests", summary.requests.size()},
                        {"complete", reader->complete()},
                        {"passes_left_out", reader->num_dropped_steps()},
                        {"rows_left_out", reader->num_dropped_rows()}};
    json.update(SnapshotJson(snapshot));
    DS_RETURN_IF_ERROR(WriteStdout(json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n"));
    return 0;
  }
  std::string text = fmt::format(
      "model       {}, {} of {} experts a token in {} layers\npasses      {} of {} rows together, {} "
      "requests\n",
      header.model.empty() ? "(no name)" : header.model, header.shape.num_chosen, header.shape.num_experts,
      header.shape.layers.size(), summary.num_steps, summary.num_pass_rows, summary.requests.size());
  if (!reader->complete()) text += "            cut off: the writer did not come to its end\n";
  if (reader->num_dropped_steps() > 0) {
    text += fmt::format("            {} passes of {} rows left out: the disk was too slow\n",
                        reader->num_dropped_steps(), reader->num_dropped_rows());
  }
  DS_RETURN_IF_ERROR(WriteStdout(text + DescribeRouting(snapshot)));
  return 0;
}

// One row as a line of JSON, or a line of CSV for each selection.
void AppendRow(const RoutingStep& step, const RoutedRow& row, bool csv, std::string* out) {
  if (!csv) {
    OrderedJson layers = OrderedJson::array();
    for (const LayerRouting& layer : step.layers) {
      OrderedJson experts = OrderedJson::array(), weights = OrderedJson::array();
      for (size_t i = 0; i < step.Experts(layer, row).size() && step.Experts(layer, row)[i] >= 0; ++i) {
        experts.push_back(step.Experts(layer, row)[i]);
        weights.push_back(step.Weights(layer, row)[i]);
      }
      layers.push_back(
          {{"layer", layer.layer}, {"experts", std::move(experts)}, {"weights", std::move(weights)}});
    }
    *out += OrderedJson({{"step", step.number},
                         {"request", row.request},
                         {"position", row.position},
                         {"token", row.token},
                         {"phase", PhaseName(row.phase)},
                         {"layers", std::move(layers)}})
                .dump();
    *out += '\n';
    return;
  }
  for (const LayerRouting& layer : step.layers) {
    const auto experts = step.Experts(layer, row);
    for (size_t i = 0; i < experts.size() && experts[i] >= 0; ++i) {
      fmt::format_to(std::back_inserter(*out), "{},{},{},{},{},{},{},{},{}\n", step.number, row.request,
                     row.position, row.token, PhaseName(row.phase), layer.layer, i, experts[i],
                     step.Weights(layer, row)[i]);
    }
  }
}

Result<int> Export(const ExportOptions& options) {
  DS_ASSIGN(const auto reader, TraceReader::Open(options.trace));
  const bool csv = options.format == "csv";
  std::optional<OutputFile> file;
  if (!options.output.empty() && options.output != "-") {
    DS_ASSIGN(OutputFile created, OutputFile::Create(options.output));
    file.emplace(std::move(created));
  }
  const auto write = [&](const std::string& text) { return file ? file->Write(text) : WriteStdout(text); };
  if (csv) DS_RETURN_IF_ERROR(write("step,request,position,token,phase,layer,rank,expert,weight\n"));
  CatchInterrupts();
  std::string text;
  for (;;) {
    DS_ASSIGN(const RoutingStep* const step, reader->Next());
    if (step == nullptr) break;
    if (Interrupted()) return kExitInterrupted;
    text.clear();
    for (const RoutedRow& row : step->rows) AppendRow(*step, row, csv, &text);
    DS_RETURN_IF_ERROR(write(text));
  }
  if (file) DS_RETURN_IF_ERROR(file->Commit());
  if (!reader->complete())
    PrintWarning(options.trace + ": the trace was cut off; what is there was exported");
  return 0;
}

}  // namespace

Command AddExpertsTraceShow(CLI::App& trace) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* app = trace.add_subcommand("show", "Tokens, load balance, shares of groups");
  app->add_option("TRACE", options->trace, "What --trace_experts wrote")->required();
  app->add_option("--groups", options->groups, "Groups of the model, to tell their shares and conflicts")
      ->type_name("FILE.json");
  AddCommonOptions(*app, kJsonOption, options.get());
  app->footer(
      "Examples:\n"
      "  deepshock experts trace show run.trace\n"
      "  deepshock experts trace show run.trace --groups models/tiny-moe.experts.json");
  return {app, [options] { return Show(*options); }};
}

Command AddExpertsTraceExport(CLI::App& trace) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* app =
      trace.add_subcommand("export", "All of it as JSON Lines (a line a token) or CSV (a line a selection)");
  app->add_option("TRACE", options->trace, "What --trace_experts wrote")->required();
  app->add_option("--format", options->format)->check(CLI::IsMember({"jsonl", "csv"}))->capture_default_str();
  app->add_option("--output,-o", options->output, "Where to (default: stdout)")->type_name("FILE");
  app->footer(
      "Examples:\n"
      "  deepshock experts trace export run.trace | head -1 | jq\n"
      "  deepshock experts trace export run.trace --format csv --output run.csv");
  return {app, [options] { return Export(*options); }};
}

}  // namespace deepshock
