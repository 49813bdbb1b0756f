// SPDX-License-Identifier: Apache-2.0
// DraftSource: guesses the next tokens of sequences, for the model to check in its next pass. A wrong guess
// costs time and never changes output: the scheduler draws every token from the main model's logits and keeps
// a draft only where it is the token drawn. Owned and called by the scheduler, on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "deepshock/engine.h"
#include "runtime/sampler.h"
#include "runtime/sequence_state.h"
#include "runtime/token_model.h"

namespace deepshock {

// A sequence that wants drafts: all its tokens but the last are in its state, which has room for that and the
// drafts.
struct DraftRequest {
  SequenceState* state;
  std::span<const int32_t> tokens;
  Sampler* sampler;              // how the next token will be drawn
  int64_t max_drafts;            // >= 1
  std::vector<int32_t>* drafts;  // what follows `tokens`; fewer than wanted, or none, where there is no guess
};

class DraftSource {
 public:
  virtual ~DraftSource() = default;
  // Drafts are empty before. Fails only when the model does.
  virtual Status Draft(std::span<DraftRequest> requests) = 0;
  // The state has grown by n tokens; hidden [n, H] is what the model put out for them.
  virtual void OnComputed(SequenceState& /*state*/, std::span<const float> /*hidden*/, int64_t /*n*/) {}
};

// The model's MTP layer, fed with its own output for the second draft and those after it.
class MtpDrafts final : public DraftSource {
 public:
  explicit MtpDrafts(TokenModel& model) : model_(model) {}
  Status Draft(std::span<DraftRequest> requests) override;
  void OnComputed(SequenceState& state, std::span<const float> hidden, int64_t n) override;

 private:
  TokenModel& model_;
  ForwardOutput output_;
  std::vector<float> hidden_;  // of the draft before
};

// Prompt look-up: what followed the last occurrence of the longest run of tokens that the sequence ends with.
class NgramDrafts final : public DraftSource {
 public:
  Status Draft(std::span<DraftRequest> requests) override;
};

using DraftSources = std::vector<std::unique_ptr<DraftSource>>;
// In the order in which the scheduler is to ask them. Fails where the model lacks what is asked for.
Result<DraftSources> MakeDraftSources(Speculation kind, TokenModel& model);

}  // namespace deepshock
