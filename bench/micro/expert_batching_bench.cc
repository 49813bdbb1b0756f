// SPDX-License-Identifier: Apache-2.0
// Expert batching against fifo: distinct experts that a token reads, and latencies, on mixed traffic.
//   expert_batching_bench MODEL FOLDER [BATCH...]        FOLDER: text, code, zh and chat.val.i32
//   expert_batching_bench --esft FOLDER [BATCH...]       FOLDER/TASK/expert_weights_LAYER.txt, as published
// Routes are taken once (a request's do not depend on its batch) and replayed through the real scheduler with
// a model that only looks them up, on a clock of its own: a pass takes a fixed time, some for each row and
// some for each expert that it reads.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "base/mapped_file.h"
#include "runtime/model_groups.h"
#include "runtime/scheduler.h"

namespace deepshock {
namespace {

struct Route {
  std::string type;
  std::vector<int32_t> tokens;
  int64_t num_prompt = 0;
  std::vector<int32_t> experts;  // [positions, layers, K]
  std::vector<float> weights;
};

struct Costs {
  double pass_ms, row_ms, read_ms;
};

struct Traffic {
  RoutingShape shape;
  std::shared_ptr<const GroupMasks> groups;
  std::vector<Route> routes;
  int64_t vocab_size = 0;
  Costs costs{};
};

// A request's first token says which route it is; the others are the route's.
class ReplayModel final : public TokenModel {
 public:
  explicit ReplayModel(const Traffic& traffic) : traffic_(traffic) {}
  Status Forward(std::span<const SequenceChunk> chunks, ForwardObserver* observer,
                 ForwardOutput* output) override {
    const auto k = static_cast<size_t>(traffic_.shape.num_chosen), width = traffic_.shape.layers.size() * k;
    const auto vocab = static_cast<size_t>(vocab_size());
    std::vector<const Route*> routes;
    std::vector<size_t> positions;
    output->hidden.clear();
    output->logits.assign(chunks.size() * vocab, -1.0f);
    for (size_t i = 0; i < chunks.size(); ++i) {
      KvView& kv = *chunks[i].kv;
      auto* state = reinterpret_cast<float*>(kv.layers[0]);
      for (const int32_t token : chunks[i].tokens) {
        if (kv.length == 0) state[0] = static_cast<float>(token - traffic_.vocab_size);
        routes.push_back(&traffic_.routes[static_cast<size_t>(state[0])]);
        positions.push_back(static_cast<size_t>(kv.length++));
      }
      const Route& route = *routes.back();
      const size_t next = std::min(positions.back() + 1, route.tokens.size() - 1);
      output->logits[i * vocab + static_cast<size_t>(route.tokens[next])] = 1;
    }
    int64_t reads = 0;
    std::vector<int32_t> experts(routes.size() * k);
    std::vector<float> weights(routes.size() * k);
    for (size_t layer = 0; layer < traffic_.shape.layers.size(); ++layer) {
      std::vector<bool> read(static_cast<size_t>(traffic_.shape.num_experts));
      for (size_t row = 0; row < routes.size(); ++row) {
        for (size_t j = 0; j < k; ++j) {
          const size_t at = positions[row] * width + layer * k + j;
          const int32_t expert = experts[row * k + j] = routes[row]->experts[at];
          weights[row * k + j] = routes[row]->weights[at];
          reads += read[static_cast<size_t>(expert)] ? 0 : 1;
          read[static_cast<size_t>(expert)] = true;
        }
      }
      if (observer != nullptr) {
        observer->OnRouting({traffic_.shape.layers[layer],
                             static_cast<int64_t>(routes.size()),
                             traffic_.shape.num_chosen,
                             {},
                             experts,
                             weights,
                             {}});
      }
    }
    now_ms += traffic_.costs.pass_ms + traffic_.costs.row_ms * static_cast<double>(routes.size()) +
              traffic_.costs.read_ms * static_cast<double>(reads);
    return {};
  }
  RoutingShape routing_shape() const override { return traffic_.shape; }
  StateSpec state_spec() const override { return {{KvLayout{.key_dim = 1}}}; }
  int64_t vocab_size() const override {
    return traffic_.vocab_size + static_cast<int64_t>(traffic_.routes.size());
  }
  int64_t context_length() const override { return 1 << 12; }

  double now_ms = 0;

 private:
  const Traffic& traffic_;
};

struct Outcome {
  double experts_per_token = 0, experts_per_decoded = 0, seconds = 0;
  double known = 0, right = 0;  // shares of requests whose type was known at the end, and was right
  std::vector<double> queue_ms, total_ms;
};

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

struct Mode {
  const char* name;
  Batching batching;
  double wait_ms;
  bool given;  // requests name their type
};

// Requests arrive at random, `rate` a second; 0: all at once.
Outcome Run(const Traffic& traffic, const Mode& mode, int batch_size, double rate, size_t num_requests) {
  ReplayModel model(traffic);
  SchedulerOptions options{batch_size, 128, {}, 1};
  options.batching = mode.batching;
  options.batch_wait_ms = mode.wait_ms;
  options.groups = traffic.groups;
  options.prefill_step = 512;
  options.now = [&] {
    return std::chrono::steady_clock::time_point(
        std::chrono::duration_cast<std::chrono::steady_clock::duration>(
            std::chrono::duration<double, std::milli>(model.now_ms)));
  };
  Scheduler scheduler(model, nullptr, options);
  struct Nothing final : RoutingSink {
    void OnStep(const RoutingStep&) override {}
  } sink;
  scheduler.AddRoutingSink(&sink);
  std::mt19937_64 random(11);
  std::exponential_distribution<double> gap(rate > 0 ? rate / 1000 : 1);
  std::vector<double> arrivals;
  double at = 0;
  for (size_t i = 0; i < num_requests; ++i) arrivals.push_back(rate > 0 ? at += gap(random) : 0.0);
  Outcome outcome;
  outcome.queue_ms.resize(num_requests);
  outcome.total_ms.resize(num_requests);
  for (size_t next = 0; next < num_requests || scheduler.num_requests() > 0;) {
    if (scheduler.num_requests() == 0) model.now_ms = std::max(model.now_ms, arrivals[next]);
    for (; next < num_requests && arrivals[next] <= model.now_ms; ++next) {
      const size_t which = random() % traffic.routes.size();
      const Route& route = traffic.routes[which];
      GenerationRequest request;
      request.prompt.assign(route.tokens.begin(), route.tokens.begin() + route.num_prompt);
      request.prompt[0] = static_cast<int32_t>(traffic.vocab_size + static_cast<int64_t>(which));
      request.max_tokens = static_cast<int64_t>(route.tokens.size()) - route.num_prompt;
      request.sampling.temperature = 0;
      if (mode.given) request.expert_type = route.type;
      request.on_done = [&, next](GenerationResult result) {
        DS_CHECK(result.status.ok(), result.status.message().c_str());
        outcome.queue_ms[next] = result.queue_ms;
        outcome.total_ms[next] = result.total_ms;
        outcome.known += result.expert_type.empty() ? 0 : 1.0 / static_cast<double>(num_requests);
        outcome.right += result.expert_type == route.type ? 1.0 / static_cast<double>(num_requests) : 0;
      };
      scheduler.Submit(std::move(request));
    }
    scheduler.Step();
  }
  const EngineStats stats = scheduler.stats();
  const auto ratio = [](const EngineStats::Passes& passes) {
    return static_cast<double>(passes.expert_reads) / static_cast<double>(passes.rows);
  };
  outcome.experts_per_token = ratio(stats.all);
  outcome.experts_per_decoded = ratio(stats.decode);
  outcome.seconds = model.now_ms / 1000;
  return outcome;
}

// Every model's requests answered once, to have their routes.
Traffic FromModel(const std::string& path, const std::string& folder) {
  constexpr int64_t kPrompt = 128, kOutput = 48;
  ThreadPool pool(2);
  Compute compute(BestKernels(), pool);
  auto loaded = Model::Load(path, {true, &pool});
  DS_CHECK(loaded.ok(), loaded.message().c_str());
  LoadedModel model(**loaded, compute, 2048, KvType::kQ16);
  Traffic traffic;
  traffic.shape = model.routing_shape();
  traffic.vocab_size = model.vocab_size();
  // tiny-moe on two cores: 1 to 4 rows take 0.27, 0.40, 0.56 and 0.62 ms and read 28, 53, 75 and 95 experts.
  traffic.costs = {0.12, 0.05, 0.0035};
  traffic.groups = *LoadGroupMasks(**loaded, FindGroupsPath(path), false);
  const auto layers = traffic.shape.layers.size(), k = static_cast<size_t>(traffic.shape.num_chosen);
  struct Recorder final : RoutingSink {
    void OnStep(const RoutingStep& step) override {
      for (const RoutedRow& row : step.rows) {
        for (size_t layer = 0; layer < step.layers.size(); ++layer) {
          Route& route = (*routes)[row.request - 1];
          const auto experts = step.Experts(step.layers[layer], row);
          const auto weights = step.Weights(step.layers[layer], row);
          const size_t at = (static_cast<size_t>(row.position) * step.layers.size() + layer) * experts.size();
          std::copy(experts.begin(), experts.end(), route.experts.begin() + static_cast<std::ptrdiff_t>(at));
          std::copy(weights.begin(), weights.end(), route.weights.begin() + static_cast<std::ptrdiff_t>(at));
        }
      }
    }
    std::vector<Route>* routes = nullptr;
  } recorder;
  recorder.routes = &traffic.routes;
  Scheduler scheduler(model, nullptr, {8, 128, {}, 1});
  scheduler.AddRoutingSink(&recorder);
  std::vector<GenerationRequest> requests;
  for (const std::string type : {"text", "code", "zh", "chat"}) {
    const auto text = ReadFile(folder + "/" + type + ".val.i32", 1 << 26);
    DS_CHECK(text.ok(), text.message().c_str());
    std::vector<int32_t> ids(text->size() / 4);
    std::memcpy(ids.data(), text->data(), ids.size() * 4);
    for (size_t at = 0; at + 512 <= ids.size(); at += 256) {
      Route route;
      route.type = type + "_expert";
      route.num_prompt = kPrompt;
      route.tokens.assign(ids.begin() + static_cast<std::ptrdiff_t>(at),
                          ids.begin() + static_cast<std::ptrdiff_t>(at) + kPrompt);
      route.experts.resize((kPrompt + kOutput) * layers * k);
      route.weights.resize(route.experts.size());
      traffic.routes.push_back(std::move(route));
    }
  }
  for (size_t i = 0; i < traffic.routes.size(); ++i) {
    GenerationRequest request;
    request.prompt = traffic.routes[i].tokens;
    request.max_tokens = kOutput;
    request.ignore_eos = true;
    request.sampling.seed = i;
    request.sampling.temperature = 0.7;
    request.on_done = [&traffic, i](GenerationResult result) {
      traffic.routes[i].tokens.insert(traffic.routes[i].tokens.end(), result.tokens.begin(),
                                      result.tokens.end());
    };
    scheduler.Submit(std::move(request));
  }
  while (scheduler.Step()) {
  }
  return traffic;
}

// A line a sample: ids, two tabs, weights; six of both for each token.
Traffic FromEsft(const std::string& folder) {
  Traffic traffic;
  traffic.shape = {64, 6, {}};
  traffic.vocab_size = 1024;
  // DeepSeek-V2-Lite in Q4_0 where memory gives 24 GB/s: 4.9 MB an expert, 0.7 GB of other weights.
  traffic.costs = {30, 1, 0.2};
  for (int layer = 1; layer <= 26; ++layer) traffic.shape.layers.push_back(layer);
  std::map<std::string, size_t> first;
  std::vector<std::string> tasks;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (std::filesystem::exists(entry.path() / "expert_weights_1.txt"))
      tasks.push_back(entry.path().filename());
  }
  std::sort(tasks.begin(), tasks.end());
  for (const std::string& task : tasks) {
    first[task] = traffic.routes.size();
    for (size_t layer = 0; layer < 26; ++layer) {
      std::ifstream file(fmt::format("{}/{}/expert_weights_{}.txt", folder, task, layer + 1));
      size_t sample = first[task];
      for (std::string line; std::getline(file, line); ++sample) {
        if (sample == traffic.routes.size()) traffic.routes.push_back({task, {}, 0, {}, {}});
        Route& route = traffic.routes[sample];
        std::vector<double> numbers;
        for (const char* at = line.c_str(); *at != 0;) {
          char* end = nullptr;
          numbers.push_back(std::strtod(at, &end));
          for (at = end; *at == '\t'; ++at) {
          }
        }
        const size_t count = numbers.size() / 2, num_tokens = count / 6;
        route.experts.resize(num_tokens * 26 * 6);
        route.weights.resize(num_tokens * 26 * 6);
        for (size_t i = 0; i < count; ++i) {
          const size_t to = (i / 6 * 26 + layer) * 6 + i % 6;
          route.experts[to] = static_cast<int32_t>(numbers[i]);
          route.weights[to] = static_cast<float>(numbers[count + i]);
        }
      }
    }
  }
  for (Route& route : traffic.routes) {
    // The latter half of a sample stands for its answer.
    const size_t size = route.experts.size() / (26 * 6);
    route.num_prompt = static_cast<int64_t>(size / 2);
    for (size_t i = 0; i < size; ++i) route.tokens.push_back(static_cast<int32_t>(i % 1000));
  }
  // A group of each task: in each layer the experts chosen most, until they hold a fifth of all choices.
  auto groups = std::make_shared<GroupMasks>(traffic.shape);
  for (const std::string& task : tasks) {
    std::vector<ExpertId> chosen;
    for (int layer = 0; layer < 26; ++layer) {
      std::vector<std::pair<int64_t, int>> counts(64);
      int64_t total = 0;
      for (int e = 0; e < 64; ++e) counts[static_cast<size_t>(e)].second = e;
      for (const Route& route : traffic.routes) {
        for (size_t at = static_cast<size_t>(layer) * 6; route.type == task && at < route.experts.size();
             at += 26 * 6) {
          for (size_t j = 0; j < 6; ++j, ++total) --counts[static_cast<size_t>(route.experts[at + j])].first;
        }
      }
      std::sort(counts.begin(), counts.end());
      int64_t held = 0;
      for (size_t i = 0; held < (total + 4) / 5; ++i) {
        held -= counts[i].first;
        chosen.push_back({layer + 1, counts[i].second});
      }
    }
    DS_CHECK(groups->Add(task, chosen).ok(), "groups");
  }
  traffic.groups = groups;
  return traffic;
}

void Compare(const Traffic& traffic, int batch_size) {
  const size_t num_requests = 512;
  const Mode fifo{"fifo", Batching::kFifo, 0, true};
  const Mode modes[] = {fifo,
                        {"expert, given, 50 ms", Batching::kExpert, 50, true},
                        {"expert, inferred, 50 ms", Batching::kExpert, 50, false},
                        {"expert, given, no bound", Batching::kExpert, 1e9, true},
                        {"expert, inferred, no bound", Batching::kExpert, 1e9, false}};
  const double capacity =
      static_cast<double>(num_requests) / Run(traffic, fifo, batch_size, 0, num_requests).seconds;
  for (const double load : {0.0, 0.8, 1.0}) {
    const Outcome base = Run(traffic, fifo, batch_size, load * capacity, num_requests);
    for (const Mode& mode : modes) {
      const Outcome outcome = Run(traffic, mode, batch_size, load * capacity, num_requests);
      std::vector<double> added;
      for (size_t i = 0; i < num_requests; ++i) added.push_back(outcome.queue_ms[i] - base.queue_ms[i]);
      fmt::print(
          "| {} | {} | {} | {:.2f} ({:+.1f} %) | {:.2f} ({:+.1f} %) | {:.0f} ({:+.1f} %) | {:+.0f} | {:.2f}, "
          "{:.2f} | {:+.1f} % |\n",
          batch_size, load == 0 ? "all at once" : fmt::format("{:.0f} %", load * 100), mode.name,
          outcome.experts_per_decoded, 100 * (outcome.experts_per_decoded / base.experts_per_decoded - 1),
          outcome.experts_per_token, 100 * (outcome.experts_per_token / base.experts_per_token - 1),
          Quantile(outcome.total_ms, 0.95),
          100 * (Quantile(outcome.total_ms, 0.95) / Quantile(base.total_ms, 0.95) - 1), Quantile(added, 0.99),
          outcome.known, outcome.right, 100 * (base.seconds / outcome.seconds - 1));
    }
  }
}

int Main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: expert_batching_bench MODEL FOLDER [BATCH...], or --esft FOLDER [BATCH...]\n");
    return 2;
  }
  const Traffic traffic =
      std::strcmp(argv[1], "--esft") == 0 ? FromEsft(argv[2]) : FromModel(argv[1], argv[2]);
  fmt::print("{} routes of {} layers\n\n", traffic.routes.size(), traffic.shape.layers.size());
  fmt::print(
      "| batch | load | batching | experts a decoded token | experts a token | p95 latency, ms | queue delay "
      "added, p99, ms | type known, right | throughput |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (int i = 3; i < std::max(argc, 4); ++i) Compare(traffic, argc > 3 ? std::atoi(argv[i]) : 8);
  return 0;
}

}  // namespace
}  // namespace deepshock

int main(int argc, char** argv) { return deepshock::Main(argc, argv); }
