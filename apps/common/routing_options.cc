// SPDX-License-Identifier: Apache-2.0
#include "apps/common/routing_options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "apps/common/program.h"

namespace deepshock {
namespace {

constexpr const char* kGroup = "Experts";

// "EXPERTS,..." or, with a value, "EXPERTS=X,...".
Status AddRules(const char* flag, ExpertRule::Kind kind, const std::vector<std::string>& lists,
                std::vector<ExpertRule>* rules) {
  const bool has_value = kind != ExpertRule::Kind::kBan;
  for (const std::string& list : lists) {
    for (size_t begin = 0; begin <= list.size();) {
      const size_t comma = std::min(list.find(',', begin), list.size());
      ExpertRule rule{kind, list.substr(begin, comma - begin), 0};
      begin = comma + 1;
      rule.experts.erase(0, rule.experts.find_first_not_of(' '));
      const size_t equals = rule.experts.find('=');
      bool well = !rule.experts.empty() && (equals != std::string::npos) == has_value;
      if (well && has_value) {
        const char* number = rule.experts.c_str() + equals + 1;
        char* end = nullptr;
        rule.value = std::strtod(number, &end);
        well = end != number && *end == '\0' && equals > 0;
        rule.experts.resize(equals);
      }
      if (!well) {
        return Fail("{}: expected {}, found \"{}\"", flag,
                    has_value ? "EXPERTS=NUMBER, several with commas" : "EXPERTS, several with commas", list);
      }
      rules->push_back(std::move(rule));
    }
  }
  return {};
}

}  // namespace

void AddRoutingOptions(CLI::App& app, unsigned which, RoutingFlags* flags) {
  const auto add = [&](const char* names, auto* value, const std::string& help, const char* type) {
    app.add_option(names, *value, help)->type_name(type)->group(kGroup);
  };
  const auto add_list = [&](const char* names, std::vector<std::string>* value, const std::string& help,
                            const char* type) {
    app.add_option(names, *value, help)->type_name(type)->allow_extra_args(false)->group(kGroup);
  };
  if ((which & kSteerOptions) != 0) {
    add_list(
        "--ban_experts,--ban-experts", &flags->ban,
        "Never choose these: names of groups, or LAYER:EXPERT with numbers, ranges and *, as 3:17, 2-4:0-7, "
        "*:5; separated by commas, may be repeated",
        "EXPERTS");
    add_list("--bias_experts,--bias-experts", &flags->bias,
             "Add X to what the selection is made on, so that they are chosen more often, or less",
             "EXPERTS=X");
    add_list("--boost_experts,--boost-experts", &flags->boost,
             "Multiply the router's odds for them by X: chosen more often, and of more weight", "EXPERTS=X");
    add("--experts_per_token,--experts-per-token", &flags->experts_per_token,
        "At most so many experts a token (default: as the model says)", "N");
    add("--adaptive_experts,--adaptive-experts", &flags->adaptive_experts,
        "Of those chosen keep the fewest whose weights reach this share of their sum; 1: all (default: 1)",
        "TAU");
    add("--min_experts,--min-experts", &flags->min_experts, "But never fewer than this (default: 1)", "N");
  }
  if ((which & kExplainOption) != 0) {
    app.add_flag("--explain_experts,--explain-experts", flags->explain,
                 "Tell which experts made the answer: share of each group, strongest experts")
        ->group(kGroup);
  }
  if ((which & kTraceOption) != 0) {
    add("--trace_experts,--trace-experts", &flags->trace,
        "Record which experts every token took; `deepshock experts trace` reads it", "FILE");
  }
}

Status ApplyRoutingFlags(const RoutingFlags& flags, RoutingOptions* options) {
  using Kind = ExpertRule::Kind;
  DS_RETURN_IF_ERROR(AddRules("--ban_experts", Kind::kBan, flags.ban, &options->rules));
  DS_RETURN_IF_ERROR(AddRules("--bias_experts", Kind::kBias, flags.bias, &options->rules));
  DS_RETURN_IF_ERROR(AddRules("--boost_experts", Kind::kBoost, flags.boost, &options->rules));
  if (flags.experts_per_token) {
    if (*flags.experts_per_token < 1)
      return Fail("--experts_per_token: expected 1 or more, found {}", *flags.experts_per_token);
    options->experts_per_token = *flags.experts_per_token;
  }
  if (flags.adaptive_experts) options->adaptive_experts = *flags.adaptive_experts;
  if (flags.min_experts) options->min_experts = *flags.min_experts;
  options->explain = options->explain || flags.explain;
  return {};
}

Status StartTrace(const RoutingFlags& flags, Engine& engine) {
  if (flags.trace.empty()) return {};
  return engine
      .StartTrace(flags.trace,
                  [](const Status& status) {
                    PrintWarning(status.message() + "; tracing has stopped, generation goes on");
                  })
      .WithContext("--trace_experts");
}

}  // namespace deepshock
