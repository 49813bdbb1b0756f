// SPDX-License-Identifier: Apache-2.0
// `deepshock experts profile`: runs text through a model and keeps what its routers chose as a named group.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "apps/common/terminal.h"
#include "apps/deepshock/experts.h"
#include "model/fingerprint.h"
#include "runtime/routing_counts.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

struct Options : CommonOptions {
  std::string model, data, held_out, name, description, groups;
  SelectionFlags selection;
  int64_t length = 512;
  int64_t max_tokens = 0;
  bool dry_run = false;
};

// What a run needs beside the text.
struct Runner {
  const Options& options;
  const Model& model;
  Compute& compute;
  KvType kv_type;
  std::optional<ModelText> text;  // once a file needed it
  std::string model_path;

  Result<RoutingHalves> Run(const std::string& data, const char* label) {
    const TextSource source = ParseTextSource(data);
    if (!source.is_tokens() && !text) {
      DS_ASSIGN(text, LoadModelText(model_path));
    }
    DS_ASSIGN(const std::vector<TokenSequence> sequences,
              ReadSequences(source, text ? &*text : nullptr, options.length, options.max_tokens));
    Progress bar(label, NumTokens(sequences), options.quiet);
    Result<RoutingHalves> counts =
        CountRouting(model, compute, sequences, kv_type, [&](int64_t done, int64_t) {
          bar.Update(done);
          return !Interrupted();
        });
    bar.Finish();
    return std::move(counts).WithContext(source.path);
  }
};

// Groups of other names that the file already holds; a file of another model is an error.
Result<GroupsFile> LoadOrBegin(const std::string& path, const Model& model) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) return LoadGroups(path, model.spec(), model.weights());
  GroupsFile file;
  file.model = FingerprintOf(model.spec(), model.weights());
  return file;
}

std::string FormatReport(const ExpertGroup& group, const std::string& saved) {
  const ExpertSelection selection = group.Select();
  std::string text =
      fmt::format("{}: {} tokens, {} layers of {} experts, {} chosen\n", group.name, group.num_tokens,
                  group.profile.layers.size(), group.profile.num_experts, group.profile.top_k);
  text += fmt::format("set         {} {}: {}; {:.1f} % of the text's selections\n", Name(group.rule), group.p,
                      DescribeSize(selection), 100 * Coverage(selection, group.profile));
  if (group.split_half) {
    text += fmt::format("split half  sets agree with Jaccard {:.3f}, shares correlate {:.4f}\n",
                        group.split_half->jaccard, group.split_half->correlation);
  }
  if (group.held_out) {
    const HeldOutScore& h = *group.held_out;
    text += fmt::format(
        "held out    {} tokens: {:.1f} % of selections, {:.2f} times chance ({:.1f} %), {:.0f} % of what the "
        "best "
        "set holds\n",
        h.num_tokens, 100 * h.coverage, h.chance > 0 ? h.coverage / h.chance : 0, 100 * h.chance,
        h.best > 0 ? 100 * h.coverage / h.best : 0);
  }
  return text + saved;
}

std::string FileName(const std::string& data) { return fs::path(data).filename().string(); }

Result<int> Profile(const Options& options) {
  DS_RETURN_IF_ERROR(CheckGroupName(options.name).WithContext("--name"));
  DS_ASSIGN(const std::string path, FindModelArgument(options.model));
  DS_ASSIGN(Machine machine, MakeMachine(options));
  DS_ASSIGN(const KvType kv_type, KvTypeByName(options.kv_type));
  DS_ASSIGN(const auto model, Model::Load(path, {options.activations == "int8", machine.pool.get()}));
  const std::string groups_path = options.groups.empty() ? GroupsPathOf(path) : options.groups;
  DS_RETURN_IF_ERROR(LoadOrBegin(groups_path, *model).status());  // before the work
  CatchInterrupts();
  Runner runner{options, *model, *machine.compute, kv_type, std::nullopt, path};

  SelectionRule rule = SelectionRule::kEsftToken;
  double p = 0.2;
  ApplySelectionFlags(options.selection, &rule, &p);
  DS_ASSIGN(const RoutingHalves counts, runner.Run(options.data, "tokens"));
  ExpertGroup group = MeasureGroup(counts, rule, p);
  group.name = options.name;
  group.data = options.description.empty() ? FileName(options.data) : options.description;
  if (!options.held_out.empty()) {
    DS_ASSIGN(const RoutingHalves held_out, runner.Run(options.held_out, "held out"));
    group.held_out = ScoreHeldOut(group, held_out.Both());
    group.held_out->data = FileName(options.held_out);
  }

  std::string saved;
  if (!options.dry_run) {
    DS_ASSIGN(GroupsFile file, LoadOrBegin(groups_path, *model));  // again: the work took its time
    const bool replaced = file.Put(group);
    DS_RETURN_IF_ERROR(file.Save(groups_path));
    saved = fmt::format("saved       {} ({} group{}{})\n", groups_path, file.groups.size(),
                        file.groups.size() == 1 ? "" : "s", replaced ? ", this one replaced" : "");
  }
  DS_RETURN_IF_ERROR(WriteStdout(options.json ? GroupToJson(group) + "\n" : FormatReport(group, saved)));
  return 0;
}

}  // namespace

Command AddExpertsProfile(CLI::App& experts) {
  auto options = std::make_shared<Options>();
  CLI::App* app = experts.add_subcommand(
      "profile", "Run text through a model and keep what its routers chose as a group");
  app->add_option("MODEL", options->model, kModelHelp)->required();
  app->add_option(
         "--data", options->data,
         "Text: JSON Lines with text, prompt or messages, or the field named behind a colon; or token ids, "
         "little-endian int32")
      ->type_name("FILE.jsonl[:FIELD]|FILE.i32")
      ->required();
  app->add_option("--name", options->name, "The group's name")->required();
  app->add_option("--held-out,--held_out", options->held_out,
                  "Other text of the same kind, to score the group on")
      ->type_name("FILE.jsonl[:FIELD]|FILE.i32");
  AddSelectionOptions(*app, "esft-token", "0.2", &options->selection);
  app->add_option("--length", options->length, "Records are read in pieces of at most this many tokens")
      ->type_name("TOKENS")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  app->add_option("--max_tokens,--max-tokens", options->max_tokens, "Read no more than this of each file")
      ->type_name("TOKENS")
      ->check(CLI::PositiveNumber);
  app->add_option("--description", options->description,
                  "What the data is, for people (default: the file's name)")
      ->type_name("TEXT");
  AddGroupsOption(*app, &options->groups);
  app->add_flag("--dry-run,--dry_run", options->dry_run, "Measure and print; save nothing");
  options->activations = "float32";
  options->kv_type = "f32";
  AddCommonOptions(*app, kInferenceOptions | kJsonOption | kQuietOption, options.get());
  app->footer(
      "Every token counts once in each MoE layer; there is no padding. --activations int8 is several times "
      "faster\n"
      "on quantised weights.\n\n"
      "Examples:\n"
      "  deepshock experts profile MODEL --data code.jsonl --name code_expert --held-out other.jsonl\n"
      "  deepshock experts profile MODEL --data chats.jsonl:messages --name chat_expert --p 0.3\n"
      "  deepshock experts profile MODEL --data ids.i32 --length 512 --name x --dry-run --json");
  return {app, [options] { return Profile(*options); }};
}

}  // namespace deepshock
