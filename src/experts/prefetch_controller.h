// SPDX-License-Identifier: Apache-2.0
// PrefetchController: whether reading experts ahead of need pays, found out by doing it and not doing it in
// turns. It knows nothing of disks or predictors: it is told what each pass took. Elsewhere prefetching from
// stale gates on a busy disk cost a fifth of the speed, so nothing is taken for granted: the switch is on
// only while pairs of windows say that it gains. Its choices never change output. Owned by a store, on its
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace deepshock {

class PrefetchController {
 public:
  // For the pass that begins.
  bool on() const { return on_; }
  // The pass took so long for so many rows. Only passes of the kind that is switched are told.
  void OnPass(int64_t num_rows, double seconds);

  // How often it was tried, and what the last trial found: 0.1 is a tenth more speed with prefetching.
  int num_trials() const { return num_trials_; }
  double last_gain() const { return last_gain_; }
  bool trying() const { return hold_left_ == 0; }
  // "off: cost 21.0 % when last tried (3 trials)"
  std::string Describe() const;

 private:
  // A window is so many passes after one that is not counted, since it works with what the window before left
  // in memory.
  static constexpr int kWindow = 8;
  // Pairs of windows in a trial; on-off and off-on take turns, so that what drifts evenly cancels out.
  static constexpr int kPairs = 6;
  // A gain that is worth having, and how many standard errors it must be above nothing.
  static constexpr double kWorthGain = 0.01, kSure = 1.0;
  // Passes from one trial to the next; doubles while trials agree.
  static constexpr int64_t kFirstHold = 512, kLastHold = 8192;
  // Before the first trial: memory that still fills makes every pass faster than the one before.
  static constexpr int64_t kFillPasses = 128;

  void EndWindow();
  void EndTrial();

  bool on_ = false;
  // Of the trial under way.
  int window_ = 0;                 // 0 .. 2 kPairs - 1
  int pass_ = 0;                   // in the window; the first one is not counted
  int64_t rows_ = 0;               // of the window
  double seconds_ = 0;             // of the window
  double first_cost_ = 0;          // seconds a row of the pair's first window
  std::vector<double> log_gains_;  // of the pairs
  // Between trials.
  int64_t hold_ = kFirstHold, hold_left_ = kFillPasses;
  bool decided_ = false;  // what the last trial chose
  int num_trials_ = 0;
  double last_gain_ = 0;
};

}  // namespace deepshock
