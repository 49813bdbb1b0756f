// SPDX-License-Identifier: Apache-2.0
#include "runtime/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace deepshock {
namespace {

constexpr uint64_t kGamma = 0x9e3779b97f4a7c15;  // of splitmix64: 2^64 over the golden ratio

Status CheckRange(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return {};
  return Fail("{}: expected {} to {}, found {}", name, low, high, value);
}

// Fails on logits that no softmax can take, which means broken weights or a broken kernel.
Status CheckLogits(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  int num_broken = 0;  // counted, not searched for: a loop without exits is computed several at a time
  for (const float logit : logits) num_broken += logit < kInfinity ? 0 : 1;
  if (num_broken == 0) [[likely]]
    return {};
  const auto broken = std::find_if(logits.begin(), logits.end(), [](float x) { return !(x < kInfinity); });
  return Fail("logits: expected finite numbers, found {} for token {}", *broken, broken - logits.begin());
}

// The first of the largest, so ties go to the lower id. No NaN among them, and at least one.
size_t ArgMax(std::span<const float> values) {
  constexpr size_t kLanes = 16;
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, values[0]);
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t l = 0; l < kLanes; ++l) lanes[l] = values[i + l] > lanes[l] ? values[i + l] : lanes[l];
  }
  float largest = lanes[0];
  for (const float lane : lanes) largest = std::max(largest, lane);
  for (; i < values.size(); ++i) largest = std::max(largest, values[i]);
  return static_cast<size_t>(std::find(values.begin(), values.end(), largest) - values.begin());
}

}  // namespace

uint64_t SplitMix64::At(uint64_t seed, uint64_t n) {
  uint64_t z = seed + (n + 1) * kGamma;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t SplitMix64::Next() {
  const uint64_t value = At(state_, 0);
  state_ += kGamma;
  return value;
}

double SplitMix64::NextUniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

Status ValidateSamplingRanges(const SamplingOptions& options) {
  constexpr double kMax = std::numeric_limits<float>::max();
  constexpr double kLeast = std::numeric_limits<float>::min();
  DS_RETURN_IF_ERROR(CheckRange("temperature", options.temperature, 0, kMax));
  if (options.top_k < 0) return Fail("top_k: expected 0 (off) or more, found {}", options.top_k);
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return Fail("top_p: expected more than 0 and at most 1, found {}", options.top_p);
  }
  DS_RETURN_IF_ERROR(CheckRange("min_p", options.min_p, 0, 1));
  DS_RETURN_IF_ERROR(CheckRange("repetition_penalty", options.repetition_penalty, kLeast, kMax));
  DS_RETURN_IF_ERROR(CheckRange("presence_penalty", options.presence_penalty, -2, 2));
  DS_RETURN_IF_ERROR(CheckRange("frequency_penalty", options.frequency_penalty, -2, 2));
  for (const auto& [token, bias] : options.logit_bias) {
    if (!(bias < kMax)) return Fail("logit_bias of token {}: expected a number, found {}", token, bias);
  }
  return {};
}

Status ValidateSampling(const SamplingOptions& options, int64_t vocab_size) {
  DS_RETURN_IF_ERROR(ValidateSamplingRanges(options));
  for (const auto& [token, bias] : options.logit_bias) {
    if (token < 0 || token >= vocab_size) {
      return Fail("logit_bias: expected token ids 0 to {}, found {}", vocab_size - 1, token);
    }
  }
  return {};
}

Sampler::Sampler(const SamplingOptions& options, uint64_t seed, std::span<const int32_t> prompt,
                 std::shared_ptr<TokenConstraint> constraint)
    : options_(options), seed_(seed), constraint_(std::move(constraint)) {
  if (options_.repetition_penalty == 1.0) return;
  for (const int32_t token : prompt) ++seen_[token];
}

bool Sampler::ChangesLogits() const {
  return !options_.logit_bias.empty() || options_.repetition_penalty != 1 || options_.presence_penalty != 0 ||
         options_.frequency_penalty != 0;
}

void Sampler::ApplyBiasAndPenalties() {
  const auto at = [&](int32_t token) -> float& { return logits_[static_cast<size_t>(token)]; };
  for (const auto& [token, bias] : options_.logit_bias) at(token) += static_cast<float>(bias);
  const float repetition = static_cast<float>(options_.repetition_penalty);
  for (const auto& [token, count] : seen_)
    at(token) = at(token) > 0 ? at(token) / repetition : at(token) * repetition;
  if (options_.presence_penalty == 0 && options_.frequency_penalty == 0) return;
  for (const auto& [token, count] : output_counts_) {
    at(token) -= static_cast<float>(options_.presence_penalty +
                                    options_.frequency_penalty * static_cast<double>(count));
  }
}

double Sampler::Weight(float logit) const {
  return std::exp((static_cast<double>(logit) - static_cast<double>(largest_)) / options_.temperature);
}

void Sampler::SortUpTo(size_t sorted, size_t count) {
  const auto begin = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
  const auto middle = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  if (middle != candidates_.end()) std::nth_element(begin, middle, candidates_.end(), Before);
  std::sort(begin, middle, Before);
}

void Sampler::KeepTopK() {
  const size_t k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  SortUpTo(0, k);
  candidates_.resize(k);
}

void Sampler::KeepTopP() {
  if (options_.top_p >= 1) return;
  double total = 0;
  for (const Candidate& c : candidates_) total += Weight(c.logit);
  const double target = options_.top_p * total;
  double reached = 0;
  size_t kept = 0;
  // A vocabulary is large and the nucleus mostly small: sort only as far as needed.
  for (size_t sorted = 0; sorted < candidates_.size();) {
    const size_t next = std::min(candidates_.size(), std::max<size_t>(64, sorted * 4));
    SortUpTo(sorted, next);
    sorted = next;
    for (; kept < sorted; ++kept) {
      reached += Weight(candidates_[kept].logit);
      if (reached < target) continue;
      candidates_.resize(kept + 1);
      return;
    }
  }
}

void Sampler::KeepMinP() {
  if (options_.min_p <= 0) return;
  std::erase_if(candidates_, [&](const Candidate& c) { return Weight(c.logit) < options_.min_p; });
}

// An exponential race: the token whose time, exponentially distributed with its weight as the rate, comes
// first wins with a probability proportional to its weight. Each token has its own random number, so another
// distribution that is much the same mostly has the same winner.
int32_t Sampler::Draw(int32_t likeliest) const {
  const uint64_t seed = SplitMix64::At(seed_, static_cast<uint64_t>(num_output_));
  const auto uniform = [seed](int32_t token) {  // (0, 1]
    const uint64_t bits = SplitMix64::At(seed, static_cast<uint64_t>(token)) >> 11;
    return (static_cast<double>(bits) + 0.5) * 0x1p-53;
  };
  // Most tokens need neither logarithm nor exponential: -log(u) >= 1 - u, no weight is above 1, and what lies
  // below `unlikely` weighs no more than kUnlikely.
  constexpr double kUnlikely = 0x1p-10, kRounding = 1.001;
  const double unlikely = static_cast<double>(largest_) + options_.temperature * std::log(kUnlikely);
  int32_t winner = likeliest;  // its weight is 1, and no step leaves it out
  double first = -std::log(uniform(likeliest));
  for (const Candidate& c : candidates_) {
    const double u = uniform(c.token);
    if (1 - u > (static_cast<double>(c.logit) < unlikely ? first * (kUnlikely * kRounding) : first)) continue;
    const double weight = Weight(c.logit);
    if (weight <= 0) continue;
    const double time = -std::log(u) / weight;
    if (time > first || (time == first && c.token >= winner)) continue;
    first = time;
    winner = c.token;
  }
  return winner;
}

const std::vector<uint32_t>* Sampler::Mask(size_t vocab_size) {
  if (constraint_ == nullptr) return nullptr;
  if (mask_.empty()) {
    mask_.resize((vocab_size + 31) / 32);
    constraint_->Allowed(mask_);
    if (vocab_size % 32 != 0 && !mask_.empty()) mask_.back() &= (uint32_t{1} << vocab_size % 32) - 1;
  }
  return &mask_;
}

void Sampler::KeepAllowed(const std::vector<uint32_t>& mask, std::span<const float> logits) {
  candidates_.clear();
  for (size_t word = 0; word < mask.size(); ++word) {
    for (uint32_t bits = mask[word]; bits != 0; bits &= bits - 1) {
      const size_t token = word * 32 + static_cast<size_t>(std::countr_zero(bits));
      if (!std::isinf(logits[token])) candidates_.push_back({logits[token], static_cast<int32_t>(token)});
    }
  }
}

size_t Sampler::LikeliestCandidate() const {
  const auto largest = std::ranges::max_element(candidates_, {}, &Candidate::logit);
  return static_cast<size_t>(largest != candidates_.end() ? largest->token : -1);
}

Result<int32_t> Sampler::Pick(std::span<const float> logits, const std::vector<uint32_t>* mask) {
  if (logits.empty()) return Fail("logits: expected some, found none");
  if (ChangesLogits()) {
    logits_.assign(logits.begin(), logits.end());
    ApplyBiasAndPenalties();
    logits = logits_;
  }
  if (mask != nullptr) KeepAllowed(*mask, logits);
  const size_t likeliest = mask == nullptr ? ArgMax(logits) : LikeliestCandidate();
  largest_ = likeliest < logits.size() ? logits[likeliest] : -std::numeric_limits<float>::infinity();
  if (!std::isfinite(largest_)) return Fail("logits: no token of {} can be drawn", logits.size());
  if (options_.temperature <= 0) return static_cast<int32_t>(likeliest);
  if (mask == nullptr) {
    candidates_.resize(logits.size());
    for (size_t i = 0; i < logits.size(); ++i) candidates_[i] = {logits[i], static_cast<int32_t>(i)};
  }
  KeepTopK();
  KeepTopP();
  KeepMinP();
  return Draw(static_cast<int32_t>(likeliest));
}

void Sampler::Count(int32_t token, int64_t by) {
  const auto count = [&](std::unordered_map<int32_t, int64_t>& counts) {
    const auto at = counts.try_emplace(token, 0).first;
    if ((at->second += by) == 0) counts.erase(at);
  };
  num_output_ += by;
  count(output_counts_);
  if (options_.repetition_penalty != 1.0) count(seen_);
}

Result<int32_t> Sampler::Next(std::span<const float> logits) {
  DS_RETURN_IF_ERROR(CheckLogits(logits));
  const std::vector<uint32_t>* mask = Mask(logits.size());
  if (mask != nullptr && std::all_of(mask->begin(), mask->end(), [](uint32_t bits) { return bits == 0; })) {
    return Fail("constraint: no token of {} may follow {} tokens of output", logits.size(), num_output_);
  }
  DS_ASSIGN(const int32_t token, Pick(logits, mask));
  if (constraint_ != nullptr && !constraint_->Accept(token)) {
    return Fail("constraint: it refuses token {}, which it allowed after {} tokens of output", token,
                num_output_);
  }
  mask_.clear();
  Count(token, 1);
  return token;
}

int32_t Sampler::Guess(std::span<const float> logits, std::span<const int32_t> drafts) {
  if (!CheckLogits(logits).ok()) return -1;
  for (const int32_t token : drafts) Count(token, 1);
  const Result<int32_t> token = Pick(logits, drafts.empty() ? Mask(logits.size()) : nullptr);
  for (const int32_t draft : drafts) Count(draft, -1);
  return token.ok() ? *token : -1;
}

TokenLogprobs LogprobsOf(std::span<const float> logits, int32_t chosen, int num_top) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - static_cast<double>(largest));
  const double log_sum = static_cast<double>(largest) + std::log(sum);
  const auto entry = [&](int32_t token) {
    return TokenLogprob{
        token, static_cast<float>(static_cast<double>(logits[static_cast<size_t>(token)]) - log_sum)};
  };
  TokenLogprobs result;
  result.chosen = entry(chosen);
  const size_t n = std::min(static_cast<size_t>(std::max(num_top, 0)), logits.size());
  if (n == 0) return result;
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n), order.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  for (size_t i = 0; i < n; ++i) result.top.push_back(entry(order[i]));
  return result;
}

}  // namespace deepshock
