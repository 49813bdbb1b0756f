// SPDX-License-Identifier: Apache-2.0
#include "apps/common/options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <thread>

#include "apps/common/program.h"
#include "base/topology.h"
#include "runtime/model_locator.h"

namespace deepshock {
namespace {

constexpr int kMaxThreads = 1024;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// models/tiny-moe.gguf of the source tree that the program was built in, or of the prefix it is installed
// under.
std::string DefaultModelPath() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return "";
  fs::path folder = program.parent_path();
  const fs::path installed = folder.parent_path() / "share/deepshock/models/tiny-moe.gguf";
  if (fs::is_regular_file(installed, error)) return installed.string();
  for (int level = 0; level < 4; ++level) {  // bin, preset, build, source
    const fs::path candidate = folder / "models/tiny-moe.gguf";
    if (fs::is_regular_file(candidate, error)) return candidate.string();
    folder = folder.parent_path();
  }
  return "";
}

}  // namespace

void AddCommonOptions(CLI::App& app, unsigned which, CommonOptions* options) {
  app.set_version_flag("--version", std::string("deepshock ") + DEEPSHOCK_VERSION);
  if ((which & kThreadsOption) != 0) {
    app.add_option("--threads", options->threads, "Threads to compute with (default: the physical cores)")
        ->type_name("N")
        ->check(CLI::Range(1, kMaxThreads));
  }
  if ((which & kKernelsOption) != 0) {
    app.add_option("--kernels", options->kernels, "Instruction set to compute with (default: the fastest)")
        ->type_name("NAME");
  }
  if ((which & kActivationsOption) != 0) {
    app.add_option("--activations", options->activations,
                   "What quantised weights are multiplied by: int8 is fast, float32 as the reference does")
        ->check(CLI::IsMember({"int8", "float32"}))
        ->capture_default_str();
  }
  if ((which & kKvTypeOption) != 0) {
    app.add_option("--kv_type", options->kv_type,
                   "Keys and values of past tokens: f32 exact, q16 in half its memory, q8 in a quarter "
                   "(default: q16, with float32 activations f32)")
        ->check(CLI::IsMember({"f32", "q16", "q8"}));
  }
  if ((which & kMemoryOption) != 0) {
    app.add_option(
           "--memory", options->memory,
           "Hard limit for weights and state together, such as 6G or 512M; experts of a repacked model that "
           "do not fit are read from disk as they are needed (default: auto, no limit)")
        ->type_name("SIZE");
  }
  if ((which & kJsonOption) != 0) app.add_flag("--json", options->json, "Print JSON");
  if ((which & kQuietOption) != 0) {
    app.add_flag("-q,--quiet", options->quiet, "No progress, notices or statistics on stderr");
  }
}

Result<int> NumThreads(const CommonOptions& options) {
  if (options.threads == 0) return DefaultNumThreads();
  const int cpus = static_cast<int>(std::thread::hardware_concurrency());
  if (cpus > 0 && options.threads > cpus && !options.quiet) {
    PrintWarning(fmt::format("--threads {}: this machine has {} CPUs; more threads than that are slower",
                             options.threads, cpus));
  }
  return options.threads;
}

Result<Machine> MakeMachine(const CommonOptions& options) {
  const Kernels* kernels = &BestKernels();
  if (!options.kernels.empty()) {
    Result<const Kernels*> named = KernelsByName(options.kernels);
    if (!named.ok()) return named.status().WithContext("--kernels");
    kernels = *named;
  }
  DS_ASSIGN(const int threads, NumThreads(options));
  Machine machine;
  try {
    machine.pool = std::make_unique<ThreadPool>(threads, PlaceThreads(FindTopology(), threads));
  } catch (const std::system_error& e) {
    return Fail("--threads {}: cannot start the threads: {}", threads, e.what());
  }
  machine.compute = std::make_unique<Compute>(*kernels, *machine.pool);
  return machine;
}

Result<std::string> FindModelArgument(const std::string& model) {
  ModelSearch search;
  const std::string home = Environment("HOME");
  const std::string deepshock_home = Environment("DEEPSHOCK_HOME");
  search.models_folder = (deepshock_home.empty() ? home + "/.deepshock" : deepshock_home) + "/models";
  // The order huggingface_hub reads its variables in.
  search.hub_folder = Environment("HF_HUB_CACHE");
  if (search.hub_folder.empty()) search.hub_folder = Environment("HUGGINGFACE_HUB_CACHE");
  if (search.hub_folder.empty()) {
    std::string hf_home = Environment("HF_HOME");
    if (hf_home.empty()) {
      const std::string cache = Environment("XDG_CACHE_HOME");
      hf_home = (cache.empty() ? home + "/.cache" : cache) + "/huggingface";
    }
    search.hub_folder = hf_home + "/hub";
  }
  if (!model.empty()) return FindModel(search, model);
  std::string path = DefaultModelPath();
  if (path.empty()) {
    return Fail(
        "no MODEL given, and the embedded default model models/tiny-moe.gguf is neither beside the source "
        "tree nor in share/deepshock/models of the install prefix");
  }
  return path;
}

}  // namespace deepshock
