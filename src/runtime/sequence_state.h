// SPDX-License-Identifier: Apache-2.0
// SequenceState: what a sequence leaves in memory between passes, and between the requests of a session: the
// model's state, the tokens that are in it, and what the MTP layer has seen of them. One thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "deepshock/engine.h"
#include "runtime/kv_cache.h"

namespace deepshock {

// How far the MTP layer has followed the main model: its rows 0 .. num_rows-1 are computed, and `hidden` are
// the main model's outputs at the positions after these, up to the state's last one. The layer runs only when
// drafts are wanted; when many positions wait, the oldest are forgotten and its rows begin anew after them.
struct MtpTrack {
  static constexpr int64_t kMaxWaiting = 256;  // positions: what a draft gains from more is small

  int64_t num_rows = 0;
  int64_t num_waiting = 0;
  std::vector<float> hidden;  // [num_waiting, H]

  // rows [n, width]: the next n positions.
  void Append(std::span<const float> rows, int64_t n, int64_t width);
  // The state's last `count` positions are no more.
  void Drop(int64_t count);
};

class SequenceState final : public Session {
 public:
  SequenceState(StateSpec spec, int64_t max_tokens, MemoryBudget* budget = nullptr)
      : kv(std::move(spec), max_tokens, budget) {}
  int64_t num_tokens() const override { return kv.length(); }
  void Clear() override { Truncate(0); }
  void Truncate(int64_t length);

  KvCache kv;
  std::vector<int32_t> tokens;  // [kv.length()]
  MtpTrack mtp;
  std::string routing_key;  // how what is in it was routed (RoutingKey)
  bool busy = false;        // a request uses it
};

}  // namespace deepshock
