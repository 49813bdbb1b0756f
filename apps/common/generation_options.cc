// SPDX-License-Identifier: Apache-2.0
#include "apps/common/generation_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iterator>

#include "runtime/sampler.h"

namespace deepshock {
namespace {

constexpr const char* kGroup = "Generation";

// "TOKEN=BIAS"
Result<std::pair<int32_t, double>> ParseBias(const std::string& text) {
  const size_t equals = text.find('=');
  int32_t token = -1;
  const char* begin = text.data();
  const bool has_token = equals != std::string::npos &&
                         std::from_chars(begin, begin + equals, token).ptr == begin + equals && equals > 0;
  if (has_token && equals + 1 < text.size()) {
    char* end = nullptr;
    const double bias = std::strtod(text.c_str() + equals + 1, &end);
    if (*end == '\0') return std::pair<int32_t, double>(token, bias);
  }
  return Fail("--logit_bias: expected TOKEN=BIAS, found \"{}\"", text);
}

}  // namespace

void AddGenerationOptions(CLI::App& app, GenerationFlags* flags, const std::string& default_max_tokens,
                          const std::string& default_sampling) {
  const auto add = [&](const char* names, auto* value, const std::string& help, const char* type) {
    app.add_option(names, *value, help)->type_name(type)->group(kGroup);
  };
  const std::string by_default = " (default: " + default_sampling + ")";
  add("--max_tokens,--max-tokens", &flags->max_tokens,
      "Most tokens to generate (default: " + default_max_tokens + ")", "N");
  add("--temperature,--temp", &flags->temperature, "0: always the likeliest token" + by_default, "X");
  add("--top_k,--top-k", &flags->top_k, "Draw from the K likeliest tokens; 0: off" + by_default, "K");
  add("--top_p,--top-p", &flags->top_p,
      "Draw from the likeliest tokens that together reach P; 1: off" + by_default, "P");
  add("--min_p,--min-p", &flags->min_p,
      "Leave out what is less likely than P times the likeliest; 0: off" + by_default, "P");
  add("--repetition_penalty,--repetition-penalty,--repeat-penalty", &flags->repetition_penalty,
      "Divide the logits of tokens that occurred, prompt included, by X; 1: off" + by_default, "X");
  add("--presence_penalty,--presence-penalty", &flags->presence_penalty,
      "Subtract X from the logits of tokens that were generated (default: 0)", "X");
  add("--frequency_penalty,--frequency-penalty", &flags->frequency_penalty,
      "Subtract X times how often a token was generated (default: 0)", "X");
  app.add_option("--logit_bias,--logit-bias", flags->logit_bias,
                 "Add BIAS to a token's logit; may be repeated")
      ->type_name("TOKEN=BIAS")
      ->allow_extra_args(false)
      ->group(kGroup);
  app.add_option("--stop", flags->stop, "End before this text; may be repeated")
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->group(kGroup);
  add("--seed", &flags->seed, "Same seed, same text, whatever else is in the batch (default: random)", "N");
  add("--speculation", &flags->speculation,
      "Guess tokens and check several in one pass, same output: auto (while it pays), off, mtp (the model's "
      "multi-token-prediction layer), ngram (what followed the same tokens before) (default: auto)",
      "KIND");
  add("--draft_tokens,--draft-tokens", &flags->draft_tokens, "Most tokens to guess for a pass (default: 3)",
      "N");
  app.add_flag("--ignore_eos,--ignore-eos", flags->ignore_eos, "Go on after the end-of-sequence token")
      ->group(kGroup);
  AddRoutingOptions(app, kSteerOptions | kExplainOption | kTraceOption, &flags->routing);
  // While parsing, so that a value out of range is a usage error like any other.
  app.callback([flags] {
    GenerationRequest unused;
    Status status = ApplyGenerationFlags(*flags, &unused);
    EngineOptions unused_options;
    if (status.ok()) status = ApplySpeculationFlags(*flags, &unused_options);
    if (!status.ok()) throw CLI::ValidationError(status.message());
  });
}

Status ApplyGenerationFlags(const GenerationFlags& flags, GenerationRequest* request) {
  const auto lay = [](const auto& given, auto* value) {
    if (given) *value = *given;
  };
  SamplingOptions& sampling = request->sampling;
  lay(flags.max_tokens, &request->max_tokens);
  lay(flags.temperature, &sampling.temperature);
  lay(flags.top_k, &sampling.top_k);
  lay(flags.top_p, &sampling.top_p);
  lay(flags.min_p, &sampling.min_p);
  lay(flags.repetition_penalty, &sampling.repetition_penalty);
  lay(flags.presence_penalty, &sampling.presence_penalty);
  lay(flags.frequency_penalty, &sampling.frequency_penalty);
  if (flags.seed) sampling.seed = flags.seed;
  for (const std::string& text : flags.logit_bias) {
    DS_ASSIGN(const auto bias, ParseBias(text));
    sampling.logit_bias.push_back(bias);
  }
  request->stop.insert(request->stop.end(), flags.stop.begin(), flags.stop.end());
  request->ignore_eos = request->ignore_eos || flags.ignore_eos;
  DS_RETURN_IF_ERROR(ApplyRoutingFlags(flags.routing, &request->routing));
  if (flags.max_tokens && *flags.max_tokens < 1) {
    return Fail("--max_tokens: expected 1 or more, found {}", *flags.max_tokens);
  }
  return ValidateSamplingRanges(sampling);
}

Status ApplySpeculationFlags(const GenerationFlags& flags, EngineOptions* options) {
  constexpr std::pair<const char*, Speculation> kKinds[] = {{"auto", Speculation::kAuto},
                                                            {"off", Speculation::kOff},
                                                            {"mtp", Speculation::kMtp},
                                                            {"ngram", Speculation::kNgram}};
  if (!flags.speculation.empty()) {
    const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                    [&](const auto& k) { return k.first == flags.speculation; });
    if (kind == std::end(kKinds)) {
      return Fail("--speculation: expected auto, off, mtp or ngram, found \"{}\"", flags.speculation);
    }
    options->speculation = kind->second;
  }
  if (flags.draft_tokens) options->draft_tokens = *flags.draft_tokens;
  if (options->draft_tokens >= 1 && options->draft_tokens <= kMaxDraftTokens) return {};
  return Fail("--draft_tokens: expected 1 to {}, found {}", kMaxDraftTokens, options->draft_tokens);
}

}  // namespace deepshock
