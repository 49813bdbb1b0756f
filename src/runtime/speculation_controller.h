// SPDX-License-Identifier: Apache-2.0
// SpeculationController: how many tokens to draft for each sequence, so that the most tokens a second come
// out. It knows nothing of models or machines: it measures how often drafts are right, what a pass of so many
// rows takes and what drafting takes, and tries another length now and then, since all three change with the
// text, the depth and the load. Owned by the scheduler, on its thread; its choices never change output.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

namespace deepshock {

class SpeculationController {
 public:
  explicit SpeculationController(int max_drafts);

  // Drafts for each of `num_sequences` in the next pass; 0: none.
  int Choose(int64_t num_sequences);

  // What then happened: drafting took so long, the pass took so long, and of one sequence's drafts the first
  // `num_right` were right.
  void OnDrafted(int64_t num_sequences, int num_drafts, double seconds);
  void OnPass(int64_t num_rows, double seconds);
  void OnChecked(int num_drafts, int num_right);
  // Another text: what was measured of the last one may not hold.
  void OnNewSequence() { interval_ = kFirstInterval; }

  // Tokens a second that so many drafts are expected to give.
  double Rate(int64_t num_sequences, int num_drafts) const;

 private:
  static constexpr int kMaxDrafts = 16;
  // Passes between two tries: more and more while they change nothing.
  static constexpr int kFirstInterval = 32, kLastInterval = 256;
  static constexpr int kTryPasses = 2;

  // The median of the last few times: what else the machine does shows as single long ones.
  class Cost {
   public:
    void Add(double seconds);
    double seconds() const;
    int64_t num_added() const { return num_added_; }

   private:
    static constexpr size_t kKept = 5;
    std::array<double, kKept> last_{};
    int64_t num_added_ = 0;
  };

  int Best(int64_t num_sequences) const;
  double PassSeconds(int64_t num_rows) const;

  int max_drafts_;
  std::map<int64_t, Cost> passes_;                    // by rows
  std::map<std::pair<int64_t, int>, Cost> drafting_;  // by sequences and drafts
  // [i]: of the drafts number i that were preceded by right ones only, how many there were and were right;
  // both fade.
  std::array<double, kMaxDrafts> checked_, right_;
  int chosen_ = 0;  // the best length when last asked
  int trying_ = 0;  // another one, for tries_left_ passes
  int tries_left_ = 0;
  int next_try_ = 0;
  int interval_ = kFirstInterval;
  int since_try_ = 0;
};

}  // namespace deepshock
