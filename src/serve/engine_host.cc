// SPDX-License-Identifier: Apache-2.0
#include "serve/engine_host.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace deepshock {

// Owned by the host and by its thread, so that whoever is last to leave closes the door.
struct EngineHost::Impl {
  std::unique_ptr<Engine> engine;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void(Engine&)>> inbox;
  bool stopping = false;
  std::atomic<uint64_t> next_ticket{1};
  std::atomic<int64_t> num_requests{0};
  // The engine's thread only:
  std::unordered_map<uint64_t, uint64_t> ids;  // ticket -> the engine's id

  void Post(std::function<void(Engine&)> action) {
    {
      const std::lock_guard lock(mutex);
      inbox.push_back(std::move(action));
    }
    changed.notify_one();
  }

  void RequestStop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_one();
  }

  void Run() {
    for (;;) {
      std::deque<std::function<void(Engine&)>> actions;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stopping || !inbox.empty() || engine->num_requests() > 0; });
        actions.swap(inbox);
        if (stopping && actions.empty()) break;
      }
      for (const auto& action : actions) action(*engine);
      actions.clear();
      if (engine->num_requests() > 0) engine->Step();
    }
    for (const auto& [ticket, id] : ids) engine->Cancel(id);
    while (engine->num_requests() > 0) engine->Step();
    engine.reset();
  }
};

EngineHost::EngineHost(std::unique_ptr<Engine> engine) : impl_(std::make_shared<Impl>()) {
  impl_->engine = std::move(engine);
  thread_ = std::thread([impl = impl_] { impl->Run(); });
}

void EngineHost::Stop() {
  impl_->RequestStop();
  if (thread_.joinable()) thread_.join();
}

EngineHost::~EngineHost() {
  impl_->RequestStop();
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();  // the last reference was held by a callback of its own
  } else {
    thread_.join();
  }
}

const Engine& EngineHost::engine() const { return *impl_->engine; }

uint64_t EngineHost::Submit(GenerationRequest request) {
  const uint64_t ticket = impl_->next_ticket++;
  ++impl_->num_requests;
  // Both run on the thread, within the engine's Step: the host's Impl outlives them.
  request.on_done = [impl = impl_.get(), ticket,
                     on_done = std::move(request.on_done)](GenerationResult result) {
    impl->ids.erase(ticket);
    --impl->num_requests;
    if (on_done) on_done(std::move(result));
  };
  auto shared = std::make_shared<GenerationRequest>(std::move(request));
  impl_->Post([impl = impl_.get(), ticket, shared](Engine& engine) {
    // Refused at once it is done before it has an id.
    impl->ids.emplace(ticket, 0);
    const uint64_t id = engine.Submit(std::move(*shared));
    const auto entry = impl->ids.find(ticket);
    if (entry != impl->ids.end()) entry->second = id;
  });
  return ticket;
}

void EngineHost::Cancel(uint64_t ticket) {
  impl_->Post([impl = impl_.get(), ticket](Engine& engine) {
    const auto id = impl->ids.find(ticket);
    if (id != impl->ids.end()) engine.Cancel(id->second);
  });
}

void EngineHost::Post(std::function<void(Engine&)> action) { impl_->Post(std::move(action)); }

int64_t EngineHost::num_requests() const { return impl_->num_requests; }

}  // namespace deepshock
