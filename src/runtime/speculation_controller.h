// SPDX-License-Identifier: Apache-2.0
// SpeculationController: how many tokens a source drafts for each sequence, so that the most tokens a second
// come out. It knows nothing of models or machines: it measures how often drafts are right, what a pass of so
// many rows takes and what drafting takes, and tries another length now and then, since all three change with
// the text, the depth and the load. Owned by the scheduler, on its thread; its choices never change output.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

namespace deepshock {

// The last few times that something took.
class MeasuredCost {
 public:
  void Add(double seconds);
  // The lower quartile: what else the machine does only makes times longer, and often many of them.
  double Undisturbed() const;
  // For what takes longer at times by itself; without the longest quarter.
  double Mean() const;

 private:
  static constexpr size_t kKept = 9;
  std::array<double, kKept> last_{};
  int64_t num_added_ = 0;
};

// What the model's passes take that hold no prompt.
class PassCosts {
 public:
  void Add(int64_t num_rows, double seconds);
  // Between two measured numbers of rows on the line through them. Beyond, with hope: more rows for no more
  // time, fewer rows for proportionally less, so that what was never measured gets its try.
  double Seconds(int64_t num_rows) const;

 private:
  std::map<int64_t, MeasuredCost> by_rows_;
};

class SpeculationController {
 public:
  // `passes` is shared by all sources and outlives this.
  SpeculationController(const PassCosts& passes, int max_drafts);

  // Drafts for each of `num_sequences` in the next pass; 0: none.
  int Choose(int64_t num_sequences);
  // Whether that was only to learn something.
  bool trying() const { return tries_left_ > 0; }

  // What then happened: drafting took so long, `as_always` or with something that it does not do each time, and
  // of one sequence's drafts the first `num_right` were right.
  void OnDrafted(int64_t num_sequences, int num_drafts, double seconds, bool as_always = true);
  void OnChecked(int num_drafts, int num_right);
  // Of the sequences for which it was asked it had guesses for so many.
  void OnGuessed(int64_t num_asked, int64_t num_guessed);
  // Another text, alone: what was measured of the last one may not hold.
  void OnNewSequence() { interval_ = std::max(kFirstInterval, interval_ / 4); }

  // Tokens a second that so many drafts are expected to give.
  double Rate(int64_t num_sequences, int num_drafts) const;

 private:
  static constexpr int kMaxDrafts = 16;
  // Passes between two tries: more and more while they change nothing.
  static constexpr int kFirstInterval = 32, kLastInterval = 512;
  static constexpr int kTryPasses = 2;
  // Drafting for a try may take a fiftieth of the time: a source that was idle catches up on all sequences.
  static constexpr double kTimeBetweenTries = 50;

  int Best(int64_t num_sequences) const;

  const PassCosts& passes_;
  int max_drafts_;
  std::map<std::pair<int64_t, int>, MeasuredCost> drafting_;  // by sequences and drafts
  // [i]: of the drafts number i that were preceded by right ones only, how many there were and were right;
  // both fade.
  std::array<double, kMaxDrafts> checked_, right_;
  double asked_ = 0, guessed_ = 0;  // both fade
  int chosen_ = 0;  // the best length when last asked
  int trying_ = 0;  // another one, for tries_left_ passes
  int tries_left_ = 0;
  int next_try_ = 0;
  int interval_ = kFirstInterval;
  int since_try_ = 0;
  double try_seconds_ = 0;  // drafting for the last one
};

}  // namespace deepshock
