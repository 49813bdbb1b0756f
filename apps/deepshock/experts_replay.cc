// SPDX-License-Identifier: Apache-2.0
// `deepshock experts replay`: how a recorded route trace would have done with other memory and other
// policies.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/common/expert_options.h"
#include "apps/deepshock/experts.h"
#include "base/byte_size.h"
#include "base/line_plot.h"
#include "experts/replay.h"
#include "experts/trace.h"
#include "experts/warm_up.h"
#include "model/expert_sizes.h"
#include "model/fingerprint.h"
#include "runtime/model_groups.h"

namespace deepshock {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct ReplayFlags : CommonOptions {
  std::string trace, model, expert_bytes, plot;
  std::string warmup, groups;
  std::vector<std::string> memory, policies;
  double disk = 0, tokens_per_second = 0;
};

// What is the same for all limits and policies.
struct Setting {
  int64_t expert_bytes = 0;  // of the place that any expert fits into
  int64_t always_bytes = 0;  // in memory all the time
  int64_t state_token_bytes = 0;
  int64_t state_tokens = 0;    // the most that the trace's sequences had room for together
  int64_t least_experts = 0;   // that must have room, as in the real store
  std::vector<ExpertId> warm;  // loaded before the first pass
  std::vector<ExpertRates> profiles;

  int64_t state_bytes() const { return state_tokens * state_token_bytes; }
  int64_t least_bytes() const { return always_bytes + state_bytes() + least_experts * expert_bytes; }
};

struct Row {
  int64_t memory_bytes = 0;
  ReplayResult result;
};

// "1, 2, 3"
std::string Joined(const std::vector<int32_t>& layers) { return fmt::format("{}", fmt::join(layers, ", ")); }

// That the trace is the model's, where it says whose it is.
Status CheckModel(const ReplayFlags& flags, const TraceHeader& header) {
  if (header.fingerprint.empty()) return {};
  DS_ASSIGN(const std::string path, FindModelArgument(flags.model));
  DS_ASSIGN(const auto model, LoadToLookAt(path));
  return CheckRouterSigns(header.fingerprint, FingerprintOf(model->spec(), model->weights()))
      .WithContext(flags.trace);
}

Status FindSizes(const ReplayFlags& flags, const UseTrace& trace, Setting* setting) {
  if (flags.model.empty()) {
    if (flags.expert_bytes.empty()) {
      return Fail(
          "expected --model MODEL or --expert_bytes SIZE: a trace does not tell how large experts are");
    }
    DS_ASSIGN(setting->expert_bytes, ParseByteSize(flags.expert_bytes).WithContext("--expert_bytes"));
    return {};
  }
  DS_ASSIGN(const std::string path, FindModelArgument(flags.model));
  DS_ASSIGN(const ExpertSizes found, ExpertSizesOf(path, flags.kv_type));
  const ExpertSpace& space = trace.space();
  if (found.num_experts != space.num_experts() || found.top_k != space.num_chosen()) {
    return Fail("{}: expected {} of {} experts a token, as in the trace, found {} of {}", path,
                space.num_chosen(), space.num_experts(), found.top_k, found.num_experts);
  }
  if (found.layers != space.layers()) {
    return Fail("{}: expected experts in layers {}, as in the trace, found them in {}", path,
                Joined(space.layers()), Joined(found.layers));
  }
  setting->expert_bytes = found.slot_bytes;
  setting->always_bytes = found.always_bytes;
  setting->state_token_bytes = found.state_token_bytes;
  return {};
}

Status FindWarmUp(const ReplayFlags& flags, const ExpertSpace& space, Setting* setting) {
  const std::vector<std::string> names = SplitNames(flags.warmup);
  if (names.empty()) return {};
  if (flags.model.empty())
    return Fail("--warmup_experts: expected --model MODEL beside it, whose groups they are");
  DS_ASSIGN(const std::string path, FindModelArgument(flags.model));
  DS_ASSIGN(const NamedGroups named,
            LoadNamedGroups(path, flags.groups.empty() ? FindGroupsPath(path) : flags.groups));
  std::vector<const ExpertProfile*> profiles;
  for (const std::string& name : names) {
    DS_ASSIGN(const ExpertGroup* group, named.file.Find(name).WithContext("--warmup_experts"));
    profiles.push_back(&group->profile);
    setting->profiles.push_back(RatesOf(group->profile, space));
  }
  setting->warm = WarmUpOrder(profiles, space);
  return {};
}

Result<Setting> FindSetting(const ReplayFlags& flags, const UseTrace& trace) {
  Setting setting;
  DS_RETURN_IF_ERROR(FindSizes(flags, trace, &setting));
  DS_RETURN_IF_ERROR(FindWarmUp(flags, trace.space(), &setting));
  int64_t tokens = 0;
  for (const UseTrace::StateChange& change : trace.StateChanges()) {
    setting.state_tokens = std::max(setting.state_tokens, tokens += change.to - change.from);
  }
  setting.least_experts =
      std::min<int64_t>(trace.space().num_chosen(), static_cast<int64_t>(trace.space().size()));
  return setting;
}

// The limits to try: those that were asked for, or an eighth of the experts in memory, two, ... all.
Result<std::vector<int64_t>> Limits(const ReplayFlags& flags, const Setting& setting, size_t num_experts) {
  std::vector<int64_t> limits;
  for (const std::string& size : flags.memory) {
    DS_ASSIGN(const int64_t bytes, ParseByteSize(size).WithContext("--memory"));
    if (bytes < setting.least_bytes()) {
      return Fail(
          "--memory: expected at least {} ({} that is always in memory, {} experts of {}, {} for states of "
          "{} "
          "tokens in all), found {}",
          FormatByteSize(setting.least_bytes()), FormatByteSize(setting.always_bytes), setting.least_experts,
          FormatByteSize(setting.expert_bytes), FormatByteSize(setting.state_bytes()), setting.state_tokens,
          FormatByteSize(bytes));
    }
    limits.push_back(bytes);
  }
  if (!limits.empty()) return limits;
  for (int64_t eighths = 1; eighths <= 8; ++eighths) {
    const int64_t experts = std::max(setting.least_experts, static_cast<int64_t>(num_experts) * eighths / 8);
    limits.push_back(setting.always_bytes + setting.state_bytes() + experts * setting.expert_bytes);
  }
  return limits;
}

Result<std::vector<std::string>> Policies(const ReplayFlags& flags) {
  std::vector<std::string> policies;
  const bool warmed = !SplitNames(flags.warmup).empty();
  std::vector<std::string> wanted = flags.policies;
  if (wanted.empty()) wanted = {"lru", warmed ? "profile" : "frequency"};
  wanted.emplace_back(kClairvoyant);
  for (const std::string& policy : wanted) {
    if (policy == "profile" && !warmed) {
      return Fail(
          "--policy profile: expected --warmup_experts NAMES beside it: groups whose profiles it starts "
          "from");
    }
    if (std::find(policies.begin(), policies.end(), policy) == policies.end()) policies.push_back(policy);
  }
  return policies;
}

Result<std::vector<Row>> ReplayAll(const ReplayFlags& flags, const Setting& setting, const UseTrace& trace) {
  DS_ASSIGN(const std::vector<std::string> policies, Policies(flags));
  DS_ASSIGN(const std::vector<int64_t> limits, Limits(flags, setting, trace.space().size()));
  const std::vector<int64_t> layer_bytes(trace.space().num_layers(), setting.expert_bytes);
  std::vector<Row> rows;
  for (const int64_t limit : limits) {
    for (const std::string& policy : policies) {
      if (Interrupted()) return rows;
      ReplayOptions options;
      options.capacity_bytes = limit - setting.always_bytes;
      options.state_token_bytes = setting.state_token_bytes;
      options.policy = policy;
      options.profiles = setting.profiles;
      options.warm = setting.warm;
      DS_ASSIGN(ReplayResult result,
                Replay(trace, layer_bytes, options).WithContext("--memory " + FormatByteSize(limit)));
      rows.push_back({limit, std::move(result)});
    }
  }
  return rows;
}

// Tokens a second between two bounds: every read is waited for; reads and computing overlap wholly.
struct Speed {
  double least = 0, most = 0;
};
Speed Estimate(const ReplayFlags& flags, const UseTrace& trace, const ResidencyStats& stats) {
  if (flags.disk <= 0 || flags.tokens_per_second <= 0) return {};
  const auto tokens = static_cast<double>(std::max<int64_t>(1, trace.num_tokens()));
  const double computing = 1 / flags.tokens_per_second;
  const double reading = static_cast<double>(stats.loaded_bytes) / tokens / (flags.disk * 1e9);
  return {1 / (computing + reading), 1 / std::max(computing, reading)};
}

double BytesPerToken(const UseTrace& trace, const ResidencyStats& stats) {
  return static_cast<double>(stats.loaded_bytes) /
         static_cast<double>(std::max<int64_t>(1, trace.num_tokens()));
}

std::string Table(const ReplayFlags& flags, const Setting& setting, const UseTrace& trace,
                  const TraceHeader& header, const std::vector<Row>& rows) {
  const bool estimates = flags.disk > 0 && flags.tokens_per_second > 0;
  const auto size = [](int64_t bytes) { return bytes > 0 ? FormatByteSize(bytes) : "nothing"; };
  std::string text = fmt::format(
      "trace    {}: {} tokens, {} of them generated, in {} passes\n"
      "experts  {} of {} each, {} in all; {} of {} a token in {} layers\n"
      "besides  {} always in memory, {} for states\n",
      header.model.empty() ? "(no name)" : header.model, trace.num_tokens(), trace.num_decoded(),
      trace.num_passes(), trace.space().size(), FormatByteSize(setting.expert_bytes),
      FormatByteSize(static_cast<int64_t>(trace.space().size()) * setting.expert_bytes),
      trace.space().num_chosen(), trace.space().num_experts(), trace.space().num_layers(),
      size(setting.always_bytes), size(setting.state_bytes()));
  if (!setting.profiles.empty())
    text += fmt::format("warmed   {}; what that reads is not counted below\n", flags.warmup);
  text += fmt::format("\n{:>10}  {:<12} {:>9} {:>14}{}\n", "memory", "policy", "hit rate", "read a token",
                      estimates ? fmt::format(" {:>16}", "tokens/s") : "");
  for (const Row& row : rows) {
    const Speed speed = Estimate(flags, trace, row.result.stats);
    text += fmt::format(
        "{:>10}  {:<12} {:>7.1f} % {:>14}{}\n", FormatByteSize(row.memory_bytes), row.result.policy,
        100 * row.result.stats.hit_rate(),
        FormatByteSize(static_cast<int64_t>(BytesPerToken(trace, row.result.stats))),
        estimates ? fmt::format(" {:>16}", fmt::format("{:.1f} to {:.1f}", speed.least, speed.most)) : "");
  }
  text += fmt::format("\n{} is the best that hindsight could have done: no policy has more hits.\n",
                      kClairvoyant);
  if (estimates) text += "tokens/s: from every read waited for, to reads wholly beside computing.\n";
  return text;
}

OrderedJson ToJson(const ReplayFlags& flags, const Setting& setting, const UseTrace& trace,
                   const TraceHeader& header, const std::vector<Row>& rows) {
  OrderedJson results = OrderedJson::array();
  for (const Row& row : rows) {
    const ResidencyStats& stats = row.result.stats;
    OrderedJson entry = {{"memory_bytes", row.memory_bytes},
                         {"policy", row.result.policy},
                         {"hit_rate", stats.hit_rate()},
                         {"touched", stats.touched},
                         {"hits", stats.hits},
                         {"loaded_bytes", stats.loaded_bytes},
                         {"bytes_per_token", BytesPerToken(trace, stats)}};
    const Speed speed = Estimate(flags, trace, stats);
    if (speed.most > 0) entry["tokens_per_second"] = {{"least", speed.least}, {"most", speed.most}};
    results.push_back(std::move(entry));
  }
  return {{"model", header.model},
          {"tokens", trace.num_tokens()},
          {"generated_tokens", trace.num_decoded()},
          {"passes", trace.num_passes()},
          {"experts", trace.space().size()},
          {"expert_bytes", setting.expert_bytes},
          {"always_bytes", setting.always_bytes},
          {"state_token_bytes", setting.state_token_bytes},
          {"state_bytes", setting.state_bytes()},
          {"least_memory_bytes", setting.least_bytes()},
          {"warmup_experts", SplitNames(flags.warmup)},
          {"results", std::move(results)}};
}

Status WritePlot(const std::string& path, const TraceHeader& header, const std::vector<Row>& rows) {
  LinePlot plot;
  plot.title =
      fmt::format("Experts found in memory: {}", header.model.empty() ? "route trace" : header.model);
  int64_t most = 0;
  for (const Row& row : rows) most = std::max(most, row.memory_bytes);
  const bool small = most < int64_t{4} << 30;
  plot.x_label = small ? "memory, MiB" : "memory, GiB";
  plot.y_label = "hit rate, %";
  plot.y_max = 100;
  for (const Row& row : rows) {
    auto series = std::find_if(plot.series.begin(), plot.series.end(),
                               [&](const LinePlot::Series& s) { return s.name == row.result.policy; });
    if (series == plot.series.end()) {
      plot.series.push_back({row.result.policy, {}, row.result.policy == kClairvoyant});
      series = plot.series.end() - 1;
    }
    series->points.emplace_back(static_cast<double>(row.memory_bytes) / (small ? 1 << 20 : 1 << 30),
                                100 * row.result.stats.hit_rate());
  }
  for (LinePlot::Series& s : plot.series) std::sort(s.points.begin(), s.points.end());
  return WriteOutput(path, plot.ToSvg());
}

Result<int> RunReplay(const ReplayFlags& flags) {
  CatchInterrupts();
  DS_ASSIGN(const auto reader, TraceReader::Open(flags.trace));
  const TraceHeader& header = reader->header();
  if ((flags.disk > 0) != (flags.tokens_per_second > 0)) {
    return Fail(
        "--disk and --tokens_per_second: expected both or none, found one: together they estimate a speed");
  }
  const std::vector<int32_t> layers(header.shape.layers.begin(), header.shape.layers.end());
  UseTrace trace(ExpertSpace(layers, header.shape.num_experts, header.shape.num_chosen));
  DS_RETURN_IF_ERROR(reader->Replay(trace));
  if (trace.num_tokens() == 0) return Fail("{}: expected tokens, found none", flags.trace);
  if (!reader->complete() && !flags.quiet) {
    PrintWarning(flags.trace + ": cut off: the writer did not come to its end; what is there is replayed");
  }
  if (reader->num_dropped_steps() > 0 && !flags.quiet) {
    PrintWarning(
        fmt::format("{}: {} passes are not in it, for which the disk was too slow; they are left out",
                    flags.trace, reader->num_dropped_steps()));
  }
  if (!flags.model.empty()) DS_RETURN_IF_ERROR(CheckModel(flags, header));
  DS_ASSIGN(const Setting setting, FindSetting(flags, trace));
  DS_ASSIGN(const std::vector<Row> rows, ReplayAll(flags, setting, trace));
  if (Interrupted()) return kExitInterrupted;
  if (!flags.plot.empty()) DS_RETURN_IF_ERROR(WritePlot(flags.plot, header, rows));
  const std::string text = flags.json ? ToJson(flags, setting, trace, header, rows)
                                                .dump(-1, ' ', false, OrderedJson::error_handler_t::replace) +
                                            "\n"
                                      : Table(flags, setting, trace, header, rows);
  DS_RETURN_IF_ERROR(WriteStdout(text));
  return 0;
}

}  // namespace

Command AddExpertsReplay(CLI::App& experts) {
  auto flags = std::make_shared<ReplayFlags>();
  CLI::App* app = experts.add_subcommand("replay", "Simulate memory limits and policies on a route trace");
  app->add_option("TRACE", flags->trace, "Route trace, as --trace_experts records it")
      ->required()
      ->type_name("FILE");
  app->add_option("--model,-m", flags->model, "The traced model, best repacked: tells sizes")
      ->type_name("MODEL");
  app->add_option("--expert_bytes,--expert-bytes", flags->expert_bytes,
                  "Size of an expert where there is no model; --memory is then for experts alone")
      ->type_name("SIZE")
      ->excludes("--model");
  app->add_option("--memory", flags->memory,
                  "Limits to try, as for run --memory (default: an eighth of the experts to all of them)")
      ->type_name("SIZE,...")
      ->delimiter(',');
  app->add_option("--policy,--expert_policy,--expert-policy", flags->policies,
                  "Policies to try: lru, frequency, profile (default: lru, and profile after a warm-up, else "
                  "frequency)")
      ->type_name("NAME,...")
      ->delimiter(',')
      ->check(CLI::IsMember(std::set<std::string>{"lru", "frequency", "profile"}));
  app->add_option("--warmup_experts,--warmup-experts", flags->warmup,
                  "Groups to load before the first token, as for run")
      ->type_name("NAMES");
  AddGroupsOption(*app, &flags->groups);
  app->add_option("--disk", flags->disk, "What the disk reads, GB/s: with the next, estimates tokens/s")
      ->check(CLI::Range(1e-6, 1e6));
  app->add_option("--tokens_per_second,--tokens-per-second", flags->tokens_per_second,
                  "Speed of such requests with all experts in memory")
      ->check(CLI::Range(1e-6, 1e9));
  app->add_option("--plot", flags->plot, "Draw hit rate against memory")->type_name("FILE.svg");
  AddCommonOptions(*app, kKvTypeOption | kJsonOption | kQuietOption, flags.get());
  app->footer(
      "Decisions are those of the real store; reading ahead and rejected drafts are not in a trace. Sizes "
      "are\n"
      "exact for a repacked model, and near for others.\n"
      "Example:\n"
      "  deepshock experts replay day.trace --model MODEL.repacked.gguf --memory 4G,6G,8G --disk 2 "
      "--tokens_per_second 30");
  return {app, [flags] { return RunReplay(*flags); }};
}

}  // namespace deepshock
