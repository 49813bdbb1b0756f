// SPDX-License-Identifier: Apache-2.0
// `deepshock inspect`: what a model is, what one token costs, and what fits in this machine's memory.
#include <CLI/CLI.hpp>
#include <fstream>
#include <map>
#include <memory>

#include "apps/deepshock/commands.h"
#include "base/json.h"
#include "model/model.h"

namespace deepshock {
namespace {

struct Options : CommonOptions {
  std::string model;
};

// Bytes this process may still use: what the kernel reports as available, or what is left of a cgroup's
// limit.
int64_t AvailableMemory() {
  int64_t available = 0;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key, unit; meminfo >> key;) {
    int64_t value = 0;
    meminfo >> value;
    std::getline(meminfo, unit);
    if (key == "MemAvailable:") available = value * 1024;
  }
  int64_t limit = 0, used = 0;
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit &&
      std::ifstream("/sys/fs/cgroup/memory.current") >> used) {
    available = std::min(available, std::max<int64_t>(0, limit - used));
  }
  return available;
}

// "13.8 M"
std::string FormatCount(int64_t n) {
  const double value = static_cast<double>(n);
  if (value < 1e6) return fmt::format("{}", n);
  return value < 1e9 ? fmt::format("{:.3g} M", value / 1e6) : fmt::format("{:.4g} B", value / 1e9);
}

std::string FormatBytes(int64_t n) {
  const double value = static_cast<double>(n);
  if (value < 1e3) return fmt::format("{} B", n);
  if (value < 1e6) return fmt::format("{:.3g} kB", value / 1e3);
  return value < 1e9 ? fmt::format("{:.3g} MB", value / 1e6) : fmt::format("{:.4g} GB", value / 1e9);
}

// Everything that is printed, measured once.
struct Facts {
  std::string path;
  const ModelSpec* spec = nullptr;
  WeightTotals totals;
  std::map<std::string, int64_t> bytes_by_type;         // "mxfp4" -> bytes
  std::map<std::string, int64_t> expert_bytes_by_type;  // of them routed experts
  int64_t num_mtp_layers = 0;
  int num_moe_layers = 0;
  int64_t expert_bytes = 0;  // of one routed expert of the first MoE layer
  int64_t kv_bytes = 0;      // a token, all layers
  int64_t memory = 0;        // available
};

Facts Gather(const Model& model, const std::string& path) {
  Facts f;
  f.path = path;
  f.spec = &model.spec();
  f.totals = CountWeights(model.spec(), model.weights());
  f.num_mtp_layers = static_cast<int64_t>(model.weights().mtp.size());
  int first_moe = -1;
  for (int l = f.spec->num_layers() - 1; l >= 0; --l) {
    if (!f.spec->layers[static_cast<size_t>(l)].is_moe) continue;
    first_moe = l;
    ++f.num_moe_layers;
  }
  const Status status =
      VisitWeights(model.spec(), model.weights(), [&](const WeightDecl& decl, const Matrix& m) -> Status {
        if (!m) return {};
        f.bytes_by_type[std::string(Name(m.dtype))] += m.bytes();
        if (decl.expert >= 0) f.expert_bytes_by_type[std::string(Name(m.dtype))] += m.bytes();
        if (decl.expert == 0 && decl.layer == first_moe) f.expert_bytes += m.bytes();
        return {};
      });
  DS_CHECK(status.ok(), "gathering does not fail");
  const StateSpec state = model.state_spec(KvType::kQ16);
  for (int l = 0; l < f.spec->num_layers(); ++l) {
    f.kv_bytes += state.layers[static_cast<size_t>(l)].group_bytes() / kKvGroup;
  }
  f.memory = AvailableMemory();
  return f;
}

int64_t ContextThatFits(const Facts& f) {
  const int64_t left = f.memory - f.totals.bytes;
  return left <= 0 ? 0 : std::min(f.spec->context_length, left / std::max<int64_t>(1, f.kv_bytes));
}

std::string JoinTypes(const std::map<std::string, int64_t>& bytes_by_type) {
  std::string text;
  for (const auto& [type, bytes] : bytes_by_type) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", type, FormatBytes(bytes));
  }
  return text;
}

std::string DescribeAttention(const AttentionSpec& a) {
  if (a.kind == AttentionKind::kLatent) {
    return fmt::format("latent (MLA), {} heads, rank {} + {} rope", a.num_heads, a.kv_lora_rank, a.rope_dim);
  }
  const std::string window = a.sliding_window > 0 ? fmt::format(", window {}", a.sliding_window) : "";
  return fmt::format("grouped-query, {} heads, {} key/value heads of {}{}", a.num_heads, a.num_kv_heads,
                     a.head_dim, window);
}

std::string DescribeFit(const Facts& f) {
  if (f.totals.bytes > f.memory) {
    const int64_t dense = f.totals.bytes - f.totals.expert_bytes;
    const double share = f.totals.expert_bytes == 0
                             ? 0
                             : 100.0 * static_cast<double>(std::max<int64_t>(0, f.memory - dense)) /
                                   static_cast<double>(f.totals.expert_bytes);
    return fmt::format(
        "{} available: not whole; dense weights and {:.0f} % of the experts would fit, the rest is read "
        "from disk when needed (slow)",
        FormatBytes(f.memory), share);
  }
  return fmt::format("{} available: the model and a context of {} tokens fit", FormatBytes(f.memory),
                     ContextThatFits(f));
}

std::string FormatText(const Facts& f) {
  const ModelSpec& s = *f.spec;
  std::string text;
  const auto line = [&](std::string_view key, const std::string& value) {
    text += fmt::format("{:<14}{}\n", key, value);
  };
  line("model", f.path);
  line("architecture", s.architecture + (s.name.empty() ? "" : fmt::format(" ({})", s.name)));
  line("parameters",
       fmt::format("{} in all, {} active a token{}", FormatCount(f.totals.parameters),
                   FormatCount(f.totals.active_parameters),
                   f.totals.mtp_parameters > 0
                       ? fmt::format(" ({} of all in {} MTP layer{})", FormatCount(f.totals.mtp_parameters),
                                     f.num_mtp_layers, f.num_mtp_layers == 1 ? "" : "s")
                       : ""));
  line("layers", fmt::format("{}, hidden {}, vocabulary {}, context {}", s.num_layers(), s.hidden,
                             s.vocab_size, s.context_length));
  line("attention", DescribeAttention(s.attention));
  if (f.num_moe_layers > 0) {
    std::string groups = s.router.num_groups > 1
                             ? fmt::format(", {} of {} groups", s.router.top_groups, s.router.num_groups)
                             : "";
    std::string shared =
        s.expert.shared_width > 0 ? fmt::format(", shared expert of width {}", s.expert.shared_width) : "";
    line("experts", fmt::format("{} a layer in {} layers, {} chosen{}; width {}, {} each{}",
                                s.router.num_experts, f.num_moe_layers, s.router.top_k, groups,
                                s.expert.width, FormatBytes(f.expert_bytes), shared));
  } else {
    line("experts", "none: a dense model");
  }
  line("weights", fmt::format("{}: {}", FormatBytes(f.totals.bytes), JoinTypes(f.bytes_by_type)));
  if (f.num_moe_layers > 0)
    line("  of experts",
         fmt::format("{}: {}", FormatBytes(f.totals.expert_bytes), JoinTypes(f.expert_bytes_by_type)));
  line("a token reads", fmt::format("{} of weights, and {} for each token of context",
                                    FormatBytes(f.totals.active_bytes), FormatBytes(f.kv_bytes)));
  line("memory", DescribeFit(f));
  return text;
}

std::string FormatJson(const Facts& f) {
  const ModelSpec& s = *f.spec;
  const nlohmann::ordered_json json = {
      {"model", f.path},
      {"architecture", s.architecture},
      {"name", s.name},
      {"parameters", f.totals.parameters},
      {"active_parameters", f.totals.active_parameters},
      {"mtp_parameters", f.totals.mtp_parameters},
      {"num_layers", s.num_layers()},
      {"num_moe_layers", f.num_moe_layers},
      {"num_mtp_layers", f.num_mtp_layers},
      {"hidden_size", s.hidden},
      {"vocab_size", s.vocab_size},
      {"context_length", s.context_length},
      {"attention", s.attention.kind == AttentionKind::kLatent ? "latent" : "grouped"},
      {"num_experts", s.router.num_experts},
      {"num_experts_per_token", s.router.top_k},
      {"expert_width", s.expert.width},
      {"shared_expert_width", s.expert.shared_width},
      {"bytes_per_expert", f.expert_bytes},
      {"weight_bytes", f.totals.bytes},
      {"expert_bytes", f.totals.expert_bytes},
      {"weight_bytes_by_type", f.bytes_by_type},
      {"expert_bytes_by_type", f.expert_bytes_by_type},
      {"active_bytes_per_token", f.totals.active_bytes},
      {"kv_bytes_per_token", f.kv_bytes},
      {"available_memory_bytes", f.memory},
      {"fits_in_memory", f.totals.bytes <= f.memory},
      {"context_that_fits", ContextThatFits(f)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<int> Inspect(const Options& options) {
  DS_ASSIGN(const std::string path, FindModelArgument(options.model));
  DS_ASSIGN(const auto model, Model::Load(path));
  const Facts facts = Gather(*model, path);
  DS_RETURN_IF_ERROR(WriteStdout(options.json ? FormatJson(facts) : FormatText(facts)));
  return 0;
}

}  // namespace

Command AddInspect(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("inspect", "Tell what a model is, what a token costs and what fits in memory");
  app->add_option("MODEL", options->model, std::string(kModelHelp) + " (default: the embedded model)");
  AddCommonOptions(*app, kJsonOption, options.get());
  app->footer(
      "Reads headers and metadata only; no weights are computed.\n\n"
      "Examples:\n"
      "  deepshock inspect models/tiny-moe.gguf\n"
      "  deepshock inspect MODEL --json | jq .active_parameters");
  return {app, [options] { return Inspect(*options); }};
}

}  // namespace deepshock
