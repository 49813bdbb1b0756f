// SPDX-License-Identifier: Apache-2.0
// Sampler: draws the tokens of one sequence from its logits; the order of the steps stands at
// SamplingOptions. Its random numbers are a function of the seed, the place in the output and the token, so a
// sequence's text depends neither on what else is in the batch nor on threads nor on drafts: a draft is right
// when it is the token drawn. Guess draws from other logits with the numbers that Next will use, which makes
// it right as often as the two distributions are alike (arXiv 2408.07978). Allocates one copy of the logits.
// With a constraint, tokens that may not come next are taken out before every other step. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "deepshock/generation.h"

namespace deepshock {

// The splitmix64 generator (Steele, Lea, Flood, OOPSLA 2014): number n is a hash of seed + n * golden ratio.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  // Number n (from 0) of the generator seeded with `seed`.
  static uint64_t At(uint64_t seed, uint64_t n);
  uint64_t Next();
  double NextUniform();  // [0, 1), 53 bits

 private:
  uint64_t state_;
};

// Each option within its range; they stand at SamplingOptions.
Status ValidateSamplingRanges(const SamplingOptions& options);
// That, and each biased token in the vocabulary.
Status ValidateSampling(const SamplingOptions& options, int64_t vocab_size);

class Sampler {
 public:
  // `options` must be valid. `prompt` counts for the repetition penalty. Without a constraint every token may
  // come next.
  Sampler(const SamplingOptions& options, uint64_t seed, std::span<const int32_t> prompt,
          std::shared_ptr<TokenConstraint> constraint = nullptr);

  // Draws the next token, counts it as output and tells the constraint. logits [V]. Fails on NaN and +inf,
  // and when nothing can be drawn.
  Result<int32_t> Next(std::span<const float> logits);
  // What Next would draw from these logits after the output has gone on with `drafts`; -1 where it would
  // fail. Changes nothing. Of a constraint it knows what may come next, not what may follow drafts: there it
  // may be wrong, as any guess.
  int32_t Guess(std::span<const float> logits, std::span<const int32_t> drafts);

 private:
  struct Candidate {
    float logit;
    int32_t token;
  };
  // Descending by logit, ties to the lower id.
  static bool Before(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  }

  // Counts a token as output, or takes that back.
  void Count(int32_t token, int64_t by);
  // Among the tokens of `mask`; null: among all.
  Result<int32_t> Pick(std::span<const float> logits, const std::vector<uint32_t>* mask);
  // What the constraint allows next, of V tokens; null without one. Asks it once for each token of output.
  const std::vector<uint32_t>* Mask(size_t vocab_size);
  bool ChangesLogits() const;
  void ApplyBiasAndPenalties();
  // Of all tokens those in `mask` become candidates, ascending.
  void KeepAllowed(const std::vector<uint32_t>& mask, std::span<const float> logits);
  size_t LikeliestCandidate() const;  // the first of the largest; none: a number that no token has
  void KeepTopK();
  void KeepTopP();
  void KeepMinP();
  int32_t Draw(int32_t likeliest) const;
  // Sorts at least the first `count` candidates; those before `sorted` are sorted already.
  void SortUpTo(size_t sorted, size_t count);
  // exp((logit - largest) / temperature)
  double Weight(float logit) const;

  SamplingOptions options_;
  uint64_t seed_;
  int64_t num_output_ = 0;
  std::unordered_map<int32_t, int64_t> output_counts_;
  std::unordered_map<int32_t, int64_t> seen_;  // prompt and output; empty without a repetition penalty
  std::vector<float> logits_;                  // [V] after mask, bias and penalties, where there are any
  std::shared_ptr<TokenConstraint> constraint_;
  std::vector<uint32_t> mask_;  // [ceil(V / 32)] empty: to be asked for
  std::vector<Candidate> candidates_;
  float largest_ = 0;
};

// Log-probabilities under softmax(logits): of `chosen`, and of the `num_top` likeliest tokens.
TokenLogprobs LogprobsOf(std::span<const float> logits, int32_t chosen, int num_top);

}  // namespace deepshock
