// SPDX-License-Identifier: Apache-2.0
// Made-up costs of passes: what the controller makes of gains, losses, noise and change.
#include "experts/prefetch_controller.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace deepshock {
namespace {

class Machine {
 public:
  explicit Machine(double gain, uint32_t seed = 1) : gain_(gain), random_(seed) {}
  void set_gain(double gain) { gain_ = gain; }
  // Passes of one row; `noise` is the spread of what one takes. Returns the share that ran with it on.
  double Run(PrefetchController* controller, int num_passes, double noise, double drift = 0) {
    std::normal_distribution<double> normal(0, 1);
    int num_on = 0;
    for (int i = 0; i < num_passes; ++i) {
      seconds_ *= 1 + drift;
      const bool on = controller->on();
      num_on += on;
      controller->OnPass(1, seconds_ / (on ? 1 + gain_ : 1) * std::exp(noise * normal(random_)));
    }
    return static_cast<double>(num_on) / num_passes;
  }

 private:
  double gain_, seconds_ = 0.05;
  std::mt19937 random_;
};

constexpr int kTrialPasses = 128 + 2 * 6 * 9;  // the first one

TEST(PrefetchController, TurnsOnWhatGains) {
  PrefetchController controller;
  Machine machine(0.15);
  EXPECT_FALSE(controller.on());
  EXPECT_EQ(controller.Describe(), "not tried yet");
  machine.Run(&controller, kTrialPasses, 0.05);
  EXPECT_TRUE(controller.on());
  EXPECT_NEAR(controller.last_gain(), 0.15, 0.06);
  EXPECT_GT(machine.Run(&controller, 4000, 0.05), 0.9);
}

// As measured elsewhere: prefetching on a saturated disk lost 21 %.
TEST(PrefetchController, TurnsOffWhatLoses) {
  PrefetchController controller;
  Machine machine(-0.21);
  machine.Run(&controller, kTrialPasses, 0);
  EXPECT_FALSE(controller.on());
  EXPECT_EQ(controller.Describe(), "off: cost 21.0 % when last tried (1 trial)");
  // Trials become rare: what they cost stays small.
  EXPECT_LT(machine.Run(&controller, 20000, 0.05), 0.03);
}

TEST(PrefetchController, NoiseAndDriftAreNoGain) {
  int num_on = 0;
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    PrefetchController controller;
    Machine machine(-0.05, seed);
    machine.Run(&controller, kTrialPasses, 0.1, 0.001);  // a context that grows makes passes slower
    num_on += controller.on();
  }
  // A pair's error is 0.1 sqrt(2 / 8) = 0.05, the mean of four of six below 0.025: -0.05 is two away from 0
  // and more from a gain of 0.01.
  EXPECT_LE(num_on, 5);
}

TEST(PrefetchController, ADriftAloneCancelsOut) {
  PrefetchController controller;
  Machine machine(0);
  machine.Run(&controller, kTrialPasses, 0, 0.01);
  EXPECT_NEAR(controller.last_gain(), 0, 0.005);
  EXPECT_FALSE(controller.on());
}

TEST(PrefetchController, FollowsAChange) {
  PrefetchController controller;
  Machine machine(0.2);
  machine.Run(&controller, 3000, 0.02);
  ASSERT_GT(controller.last_gain(), 0.1);
  machine.set_gain(-0.2);
  machine.Run(&controller, 10000, 0.02);
  EXPECT_LT(controller.last_gain(), -0.1);
  EXPECT_LT(machine.Run(&controller, 2000, 0.02), 0.1);
}

TEST(PrefetchController, CountsRowsNotPasses) {
  // As much a row, whatever the pass.
  PrefetchController controller;
  for (int i = 0; i < kTrialPasses; ++i) controller.OnPass(i % 3 == 0 ? 4 : 1, i % 3 == 0 ? 0.2 : 0.05);
  EXPECT_NEAR(controller.last_gain(), 0, 1e-9);
}

}  // namespace
}  // namespace deepshock
