// SPDX-License-Identifier: Apache-2.0
// /health, /ready, /version, /metrics.
#include <fmt/format.h>

#include <utility>

#include "serve/routes.h"

namespace deepshock {
namespace {

struct Metric {
  const char* name;
  const char* type;  // "counter", "gauge"
  const char* help;
};

void AppendHead(const Metric& metric, std::string* text) {
  *text += fmt::format("# HELP deepshock_{} {}\n# TYPE deepshock_{} {}\n", metric.name, metric.help,
                       metric.name, metric.type);
}

void AppendValue(const Metric& metric, double value, std::string* text) {
  AppendHead(metric, text);
  *text += fmt::format("deepshock_{} {}\n", metric.name, value);
}

void AppendServer(const ServerCounts& counts, std::string* text) {
  const std::pair<Metric, const std::atomic<int64_t>*> metrics[] = {
      {{"http_requests_total", "counter", "Requests that have ended."}, &counts.requests},
      {{"http_errors_total", "counter", "Requests that the server failed."}, &counts.errors},
      {{"http_refused_total", "counter", "Requests that were refused: status 400 to 499."}, &counts.refused},
      {{"http_clients_left_total", "counter", "Requests whose clients left before the end."},
       &counts.clients_left},
      {{"http_requests_under_way", "gauge", "Requests being answered now."}, &counts.under_way},
      {{"prompt_tokens_total", "counter", "Tokens of prompts."}, &counts.prompt_tokens},
      {{"cached_prompt_tokens_total", "counter", "Of these, found in the prefix cache."},
       &counts.cached_prompt_tokens},
      {{"output_tokens_total", "counter", "Tokens of answers."}, &counts.output_tokens},
  };
  for (const auto& [metric, value] : metrics) AppendValue(metric, static_cast<double>(value->load()), text);
}

void AppendEngines(const std::vector<std::pair<std::string, EngineStats>>& engines, std::string* text) {
  using Read = double (*)(const EngineStats&);
  const std::pair<Metric, Read> metrics[] = {
      {{"running", "gauge", "Generations computed now."},
       [](const EngineStats& s) { return static_cast<double>(s.running); }},
      {{"waiting", "gauge", "Generations that wait."},
       [](const EngineStats& s) { return static_cast<double>(s.waiting); }},
      {{"state_bytes", "gauge", "Keys and values of running generations."},
       [](const EngineStats& s) { return static_cast<double>(s.state_bytes); }},
      {{"preemptions_total", "counter", "Generations put back for lack of memory."},
       [](const EngineStats& s) { return static_cast<double>(s.preemptions); }},
      {{"passes_total", "counter", "Passes of the model."},
       [](const EngineStats& s) { return static_cast<double>(s.all.passes); }},
      {{"rows_total", "counter", "Tokens computed in them."},
       [](const EngineStats& s) { return static_cast<double>(s.all.rows); }},
      {{"expert_reads_total", "counter", "Distinct experts read in them, over layers."},
       [](const EngineStats& s) { return static_cast<double>(s.all.expert_reads); }},
      {{"prefix_cache_bytes", "gauge", "Memory of the prefix cache."},
       [](const EngineStats& s) { return static_cast<double>(s.prefix_cache.bytes); }},
      {{"prefix_cache_hits_total", "counter", "Requests that began with a cached prefix."},
       [](const EngineStats& s) { return static_cast<double>(s.prefix_cache.hits); }},
      {{"prefix_cache_misses_total", "counter", "Requests that did not."},
       [](const EngineStats& s) { return static_cast<double>(s.prefix_cache.misses); }},
  };
  for (const auto& [metric, read] : metrics) {
    AppendHead(metric, text);
    for (const auto& [model, stats] : engines) {
      std::string name;
      AppendJsonString(model, &name);
      *text += fmt::format("deepshock_{}{{model={}}} {}\n", metric.name, name, read(stats));
    }
  }
}

// Asks the engines, each on its thread, and sends when the last has told.
class MetricsReport {
 public:
  MetricsReport(std::shared_ptr<Call> call, std::string text, size_t num_models)
      : call_(std::move(call)), text_(std::move(text)), left_(num_models) {}
  void Add(const std::string& model, const EngineStats& stats) {
    const std::lock_guard lock(mutex_);
    engines_.emplace_back(model, stats);
    if (--left_ > 0) return;
    AppendEngines(engines_, &text_);
    call_->Send({200, std::move(text_), "text/plain; version=0.0.4"});
    call_.reset();
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<Call> call_;
  std::string text_;
  size_t left_;
  std::vector<std::pair<std::string, EngineStats>> engines_;
};

}  // namespace

void HandleHealth(Server&, std::shared_ptr<Call> call) { call->SendJson(R"({"status": "ok"})"); }

void HandleReady(Server& server, std::shared_ptr<Call> call) {
  const bool loaded = !server.models().All().empty();
  if (loaded && !server.draining()) return call->SendJson(R"({"status": "ready"})");
  call->SendError(
      {503, server.draining() ? "the server is shutting down" : "no model is loaded yet", "", "not_ready"});
}

void HandleVersion(Server&, std::shared_ptr<Call> call) {
  call->SendJson(fmt::format(R"({{"name": "deepshock", "version": "{}"}})", DEEPSHOCK_VERSION));
}

void HandleMetrics(Server& server, std::shared_ptr<Call> call) {
  std::string text;
  AppendServer(server.counts(), &text);
  const auto models = server.models().All();
  if (models.empty()) return call->Send({200, std::move(text), "text/plain; version=0.0.4"});
  const auto report = std::make_shared<MetricsReport>(std::move(call), std::move(text), models.size());
  for (const auto& model : models) {
    model->host.Post([report, name = model->name](Engine& engine) { report->Add(name, engine.stats()); });
  }
}

}  // namespace deepshock
