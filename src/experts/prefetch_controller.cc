// SPDX-License-Identifier: Apache-2.0
#include "experts/prefetch_controller.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace deepshock {
namespace {

// Windows are off, on, on, off, ...: pairs (off, on) and (on, off) in turns.
bool IsOn(int window) { return window % 4 == 1 || window % 4 == 2; }

}  // namespace

void PrefetchController::OnPass(int64_t num_rows, double seconds) {
  if (hold_left_ > 0) {
    if (--hold_left_ == 0) on_ = IsOn(0);
    return;
  }
  if (pass_++ > 0) {
    rows_ += num_rows;
    seconds_ += seconds;
  }
  if (pass_ > kWindow) EndWindow();
}

void PrefetchController::EndWindow() {
  const double cost = std::max(seconds_, 1e-9) / static_cast<double>(std::max<int64_t>(rows_, 1));
  if (window_ % 2 == 0) {
    first_cost_ = cost;
  } else {
    const double log_ratio = std::log(first_cost_ / cost);
    log_gains_.push_back(IsOn(window_) ? log_ratio : -log_ratio);
  }
  pass_ = 0;
  rows_ = 0;
  seconds_ = 0;
  if (++window_ == 2 * kPairs) {
    EndTrial();
  } else {
    on_ = IsOn(window_);
  }
}

void PrefetchController::EndTrial() {
  // The pair that went best and the one that went worst may be somebody else's doing.
  std::sort(log_gains_.begin(), log_gains_.end());
  const auto first = log_gains_.begin() + 1, last = log_gains_.end() - 1;
  const auto n = static_cast<double>(last - first);
  const double mean = std::accumulate(first, last, 0.0) / n;
  double squares = 0;
  for (auto gain = first; gain != last; ++gain) squares += (*gain - mean) * (*gain - mean);
  const double error = std::sqrt(squares / (n - 1) / n);
  log_gains_.clear();
  window_ = 0;
  last_gain_ = std::exp(mean) - 1;
  const bool pays = last_gain_ > kWorthGain && mean > kSure * error;
  hold_ = num_trials_ > 0 && pays == decided_ ? std::min(hold_ * 2, kLastHold) : kFirstHold;
  ++num_trials_;
  decided_ = on_ = pays;
  hold_left_ = hold_;
}

std::string PrefetchController::Describe() const {
  if (num_trials_ == 0) return "not tried yet";
  return fmt::format("{}: {} {:.1f} %{} when last tried ({} trial{})", decided_ ? "on" : "off",
                     last_gain_ >= 0 ? "gained" : "cost", 100 * std::abs(last_gain_),
                     !decided_ && last_gain_ > kWorthGain ? ", within the noise," : "", num_trials_,
                     num_trials_ == 1 ? "" : "s");
}

}  // namespace deepshock
