// SPDX-License-Identifier: Apache-2.0
// `deepshock eval nll`: mean negative log-likelihood over a file of token ids.
#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

#include "apps/common/routing_options.h"
#include "apps/common/terminal.h"
#include "apps/deepshock/commands.h"
#include "base/json.h"
#include "runtime/evaluate.h"
#include "runtime/model_groups.h"
#include "runtime/request_routing.h"
#include "runtime/text_sequences.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string model;
  std::string tokens;
  int64_t length = 512;
  RoutingFlags routing;
};

Result<int> EvalNll(const Options& options) {
  DS_ASSIGN(const std::string path, FindModelArgument(options.model));
  DS_ASSIGN(Machine machine, MakeMachine(options));
  DS_ASSIGN(const std::vector<int32_t> tokens, ReadTokenFile(options.tokens));
  DS_ASSIGN(const auto model, Model::Load(path, {options.activations == "int8", machine.pool.get()}));
  DS_ASSIGN(const KvType kv_type, KvTypeByName(options.kv_type));
  RoutingOptions routing;
  DS_RETURN_IF_ERROR(ApplyRoutingFlags(options.routing, &routing));
  RoutingControl control;
  if (routing.steers()) {
    DS_ASSIGN(const auto groups, LoadGroupMasks(*model, FindGroupsPath(path), false));
    DS_ASSIGN(control, MakeRoutingControl(routing, *groups));
  }
  Progress bar("sequences", static_cast<int64_t>(tokens.size()) / options.length, options.quiet);
  DS_ASSIGN(const NllResult result, MeanNll(
                                        *model, *machine.compute, tokens, options.length,
                                        [&](int64_t done, int64_t) { bar.Update(done); }, kv_type,
                                        routing.steers() ? &control : nullptr)
                                        .WithContext(options.tokens));
  bar.Finish();
  if (options.json) {
    nlohmann::ordered_json json = {{"nll", result.nll}, {"tokens", result.num_tokens}};
    if (routing.steers()) {
      json["selections"] = result.num_selections;
      json["dropped"] = result.num_dropped;
    }
    DS_RETURN_IF_ERROR(WriteStdout(json.dump() + "\n"));
  } else {
    DS_RETURN_IF_ERROR(WriteStdout(fmt::format("nll {:.6f} nats a token, perplexity {:.4f}, over {} tokens\n",
                                               result.nll, std::exp(result.nll), result.num_tokens)));
    if (routing.steers()) {
      const double all = static_cast<double>(std::max<int64_t>(1, result.num_selections));
      DS_RETURN_IF_ERROR(WriteStdout(fmt::format("{} of {} expert evaluations left out ({:.1f} %)\n",
                                                 result.num_dropped, result.num_selections,
                                                 100 * static_cast<double>(result.num_dropped) / all)));
    }
  }
  return 0;
}

}  // namespace

Command AddEval(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* eval = program.add_subcommand("eval", "Measure a model's quality");
  eval->require_subcommand(1);
  CLI::App* app = eval->add_subcommand("nll", "Mean negative log-likelihood over token ids");
  app->add_option("MODEL", options->model, kModelHelp)->required();
  app->add_option("--tokens", options->tokens, "Token ids, little-endian int32")
      ->type_name("FILE.i32")
      ->required();
  app->add_option("--length", options->length,
                  "Tokens a sequence; positions 1 to length-1 of each are predicted")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24));
  AddRoutingOptions(*app, kSteerOptions, &options->routing);
  options->activations = "float32";
  options->kv_type = "f32";
  AddCommonOptions(*app, kInferenceOptions | kJsonOption | kQuietOption, options.get());
  app->footer(
      "Examples:\n"
      "  deepshock eval nll models/tiny-moe.gguf --tokens text.val.i32 --length 512\n"
      "  deepshock eval nll MODEL --tokens text.val.i32 --adaptive_experts 0.9    what fewer experts cost\n"
      "  deepshock eval nll MODEL --tokens text.val.i32 --json | jq .nll");
  return {app, [options] { return EvalNll(*options); }};
}

}  // namespace deepshock
