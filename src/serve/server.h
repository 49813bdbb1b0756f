// SPDX-License-Identifier: Apache-2.0
// Server: the HTTP APIs of the models in its registry. Knows who may ask (Access), which function answers
// (Routes), and what is told of it (Call::Log). Handlers run on the transport's threads.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "serve/access.h"
#include "serve/call.h"
#include "serve/http_message.h"
#include "serve/model_registry.h"
#include "serve/work_queue.h"

namespace deepshock {

struct ServerOptions {
  AccessOptions access;
  // Origins that pages may come from whose scripts use the server; "*": any. Empty: only its own.
  std::vector<std::string> cors_origins;
  Call::Log log;
  // Loads a model for POST /v1/admin/models; empty: models cannot be loaded while the server runs.
  std::function<Result<std::shared_ptr<ServedModel>>(const std::string& name, const std::string& path)>
      load_model;
};

// Sums over the calls that have ended, for /metrics.
struct ServerCounts {
  std::atomic<int64_t> requests{0}, errors{0}, refused{0}, clients_left{0};
  std::atomic<int64_t> prompt_tokens{0}, cached_prompt_tokens{0}, output_tokens{0};
  std::atomic<int64_t> under_way{0};
};

class Server final : public HttpHandler {
 public:
  explicit Server(ServerOptions options);
  ~Server() override;

  std::optional<HttpResponse> Refuse(const HttpRequest& head) override;
  void Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) override;
  HttpResponse Fault(int status, const std::string& message) override;

  ModelRegistry& models() { return models_; }
  const ServerOptions& options() const { return options_; }
  const ServerCounts& counts() const { return *counts_; }
  // Runs what takes long beside the transport's threads; the destructor waits for its end.
  void RunAside(std::function<void()> work) { aside_.Post(std::move(work)); }
  // /ready says no: a load balancer sends nothing more.
  void SetDraining() { draining_ = true; }
  bool draining() const { return draining_; }

 private:
  HttpHeaders CorsHeaders(const HttpRequest& request) const;
  ApiStatus Identify(const HttpRequest& request, Access::Caller* caller);

  ServerOptions options_;
  std::shared_ptr<Access> access_;
  ModelRegistry models_;
  std::shared_ptr<ServerCounts> counts_ = std::make_shared<ServerCounts>();  // calls may outlive the server
  std::atomic<bool> draining_{false};
  // Models that load, and requests so large that reading them takes long. The last member: its work uses the
  // others.
  WorkQueue aside_{2};
};

}  // namespace deepshock
