// SPDX-License-Identifier: Apache-2.0
// EngineHost: runs one engine on a thread of its own, for any number of threads that have requests. The
// thread sleeps while there is nothing to do. A host may be destroyed on any thread, its own included; what
// it still runs is cancelled then, and every request's on_done has been called when its engine is gone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "deepshock/engine.h"

namespace deepshock {

class EngineHost {
 public:
  explicit EngineHost(std::unique_ptr<Engine> engine);
  ~EngineHost();
  EngineHost(const EngineHost&) = delete;
  EngineHost& operator=(const EngineHost&) = delete;

  // For what any thread may ask of it: info(), EncodePrompt, EncodeChat, Decode, routing_counters().
  const Engine& engine() const;

  // The request's callbacks run on the engine's thread. The ticket is for Cancel.
  uint64_t Submit(GenerationRequest request);
  // Ends a request that waits or runs; an unknown or finished one is ignored.
  void Cancel(uint64_t ticket);
  // Runs `action` on the engine's thread between two steps.
  void Post(std::function<void(Engine&)> action);
  // Cancels what runs, and returns when the thread has ended: no callback is under way then, and there is no
  // engine() any more. Not from the engine's own thread.
  void Stop();
  // Submitted and not finished, as of now.
  int64_t num_requests() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
  std::thread thread_;
};

}  // namespace deepshock
