// SPDX-License-Identifier: Apache-2.0
#include "runtime/speculation_controller.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace deepshock {
namespace {

// Before anything is known: as if so many drafts had been checked, of which this share was right.
constexpr double kPriorChecked = 4, kPriorRight = 0.7;
// What one more observation leaves of the earlier ones: about the last hundred count.
constexpr double kFade = 0.99;
// Another length must promise this much more: less is noise.
constexpr double kWorthChanging = 1.04;
// What drafts for many cost beside the pass: more is drawn, taken back and sent, some of it while the next pass
// runs. With 32 streams on two cores drafts that promised 6 to 10 % more lost 10 to 15 %.
constexpr double kBesidePass = 0.15;

// Rows that are so many that one more or less is all the same share a measurement.
int64_t Bucket(int64_t n) {
  int64_t step = 1;
  while (n / step >= 32) step *= 2;
  return (n + step - 1) / step * step;
}

}  // namespace

void MeasuredCost::Add(double seconds) { last_[static_cast<size_t>(num_added_++) % kKept] = seconds; }

double MeasuredCost::Undisturbed() const {
  std::array<double, kKept> sorted = last_;
  const size_t n = std::min(kKept, static_cast<size_t>(num_added_));
  std::sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(n));
  return sorted[(n - 1) / 4];
}

double MeasuredCost::Mean() const {
  std::array<double, kKept> sorted = last_;
  const size_t n = std::min(kKept, static_cast<size_t>(num_added_)), kept = n - n / 4;
  std::sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(n));
  return std::accumulate(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(kept), 0.0) /
         static_cast<double>(kept);
}

void PassCosts::Add(int64_t num_rows, double seconds) { by_rows_[Bucket(num_rows)].Add(seconds); }

double PassCosts::Seconds(int64_t num_rows) const {
  const int64_t rows = Bucket(num_rows);
  const auto above = by_rows_.lower_bound(rows);
  if (above == by_rows_.end()) return by_rows_.empty() ? 0 : std::prev(above)->second.Undisturbed();
  const double seconds = above->second.Undisturbed();
  if (above->first == rows) return seconds;
  const double share = static_cast<double>(rows) / static_cast<double>(above->first);
  if (above == by_rows_.begin()) return seconds * share;
  const auto below = std::prev(above);
  const double from = below->second.Undisturbed();
  return from + (seconds - from) * static_cast<double>(rows - below->first) /
                    static_cast<double>(above->first - below->first);
}

SpeculationController::SpeculationController(const PassCosts& passes, int max_drafts)
    : passes_(passes), max_drafts_(max_drafts) {
  DS_CHECK(max_drafts >= 0 && max_drafts <= kMaxDrafts, "draft length out of range");
  checked_.fill(kPriorChecked);
  right_.fill(kPriorChecked * kPriorRight);
}

void SpeculationController::OnDrafted(int64_t num_sequences, int num_drafts, double seconds, bool as_always) {
  if (as_always) drafting_[{Bucket(num_sequences), num_drafts}].Add(seconds);
  if (trying()) try_seconds_ += seconds;
}

void SpeculationController::OnChecked(int num_drafts, int num_right) {
  if (tries_left_ > 0) --tries_left_;
  for (int i = 0; i < std::min(num_drafts, num_right + 1); ++i) {
    const auto at = static_cast<size_t>(i);
    checked_[at] = checked_[at] * kFade + 1;
    right_[at] = right_[at] * kFade + (i < num_right ? 1 : 0);
  }
}

void SpeculationController::OnGuessed(int64_t num_asked, int64_t num_guessed) {
  const double kept = std::pow(kFade, static_cast<double>(num_asked));
  asked_ = asked_ * kept + static_cast<double>(num_asked);
  guessed_ = guessed_ * kept + static_cast<double>(num_guessed);
}

double SpeculationController::Rate(int64_t num_sequences, int num_drafts) const {
  double gain = 0, reached = 1;
  for (size_t i = 0; i < static_cast<size_t>(num_drafts); ++i) gain += reached *= right_[i] / checked_[i];
  // A pass of one sequence has drafts or not; one of many has some, and its time does not grow evenly with them.
  const double share = num_sequences > 1 && asked_ > 0 ? guessed_ / asked_ : 1;
  const double tokens = 1 + share * gain;
  double seconds = passes_.Seconds(
      num_sequences + std::llround(share * static_cast<double>(num_sequences * num_drafts)));
  const auto drafting = drafting_.find({Bucket(num_sequences), num_drafts});
  if (num_drafts > 0 && drafting != drafting_.end()) seconds += drafting->second.Mean();
  if (num_drafts > 0 && num_sequences > 1) seconds *= 1 + kBesidePass;
  return static_cast<double>(num_sequences) * tokens / std::max(seconds, 1e-9);
}

int SpeculationController::Best(int64_t num_sequences) const {
  int best = chosen_;
  double best_rate = Rate(num_sequences, best) * kWorthChanging;
  for (int k = 0; k <= max_drafts_; ++k) {
    const double rate = Rate(num_sequences, k);
    if (k == chosen_ || rate <= best_rate) continue;
    best = k;
    best_rate = rate;
  }
  return best;
}

int SpeculationController::Choose(int64_t num_sequences) {
  const int best = Best(num_sequences);
  if (best != chosen_) interval_ = kFirstInterval;
  chosen_ = best;
  if (tries_left_ > 0) {
    if (trying_ == 0) --tries_left_;
    return trying_;
  }
  ++since_try_;
  const double elapsed = since_try_ * passes_.Seconds(num_sequences);
  if (max_drafts_ > 0 && since_try_ > interval_ && elapsed >= kTimeBetweenTries * try_seconds_) {
    since_try_ = 0;
    try_seconds_ = 0;
    interval_ = std::min(interval_ * 2, kLastInterval);
    // The neighbours and no drafts at all take turns: one of them is what to change to.
    const std::array<int, 3> others = {std::min(chosen_ + 1, max_drafts_), std::max(chosen_ - 1, 0), 0};
    for (size_t i = 0; i < others.size(); ++i) {
      trying_ = others[static_cast<size_t>(next_try_++) % others.size()];
      if (trying_ != chosen_) break;
    }
    if (trying_ != chosen_) {
      tries_left_ = trying_ == 0 ? kTryPasses - 1 : kTryPasses;
      return trying_;
    }
  }
  return chosen_;
}

}  // namespace deepshock
