// SPDX-License-Identifier: Apache-2.0
#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace deepshock {
namespace {

RopeSpec Plain(int dims, RopeLayout layout) {
  RopeSpec spec;
  spec.dims = dims;
  spec.layout = layout;
  return spec;
}

TEST(Rope, RotatesPairsByPositionTimesFrequency) {
  const Rope rope(Plain(4, RopeLayout::kInterleaved));
  std::vector<float> head = {1, 0, 1, 0, 7};  // the entry beyond dims passes through
  rope.Apply(rope.At(3), head.data());
  EXPECT_NEAR(head[0], std::cos(3.0), 1e-6);
  EXPECT_NEAR(head[1], std::sin(3.0), 1e-6);
  EXPECT_NEAR(head[2], std::cos(0.03), 1e-6);  // 10000^(-2/4) = 0.01
  EXPECT_NEAR(head[3], std::sin(0.03), 1e-6);
  EXPECT_EQ(head[4], 7);
}

TEST(Rope, HalfSplitIsInterleavedAfterPermutation) {
  const int dims = 8;
  const Rope split(Plain(dims, RopeLayout::kHalfSplit)), pairs(Plain(dims, RopeLayout::kInterleaved));
  std::vector<float> a(dims), b(dims);
  for (int i = 0; i < dims; ++i) a[static_cast<size_t>(i)] = static_cast<float>(i * i) - 3.0f;
  for (size_t i = 0; i < 4; ++i) {
    b[2 * i] = a[i];
    b[2 * i + 1] = a[i + 4];
  }
  split.Apply(split.At(11), a.data());
  pairs.Apply(pairs.At(11), b.data());
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(a[i], b[2 * i]);
    EXPECT_EQ(a[i + 4], b[2 * i + 1]);
  }
}

TEST(Rope, ScoresDependOnDistanceOnly) {
  const Rope rope(Plain(16, RopeLayout::kHalfSplit));
  const auto score = [&](int64_t query_at, int64_t key_at) {
    std::vector<float> q(16), k(16);
    for (size_t i = 0; i < 16; ++i) {
      q[i] = std::sin(static_cast<float>(i));
      k[i] = std::cos(static_cast<float>(3 * i));
    }
    rope.Apply(rope.At(query_at), q.data());
    rope.Apply(rope.At(key_at), k.data());
    float sum = 0;
    for (size_t i = 0; i < 16; ++i) sum += q[i] * k[i];
    return sum;
  };
  EXPECT_NEAR(score(5, 2), score(105, 102), 1e-4);
  EXPECT_NEAR(score(900, 0), score(1900, 1000), 1e-3);
}

TEST(Rope, YarnKeepsFastFrequenciesAndInterpolatesSlowOnes) {
  RopeSpec spec = Plain(64, RopeLayout::kInterleaved);
  spec.scaling = RopeScaling::kYarn;
  spec.factor = 40;
  spec.original_context = 4096;
  const Rope yarn(spec), plain(Plain(64, RopeLayout::kInterleaved));
  EXPECT_DOUBLE_EQ(yarn.frequencies()[0], plain.frequencies()[0]);
  EXPECT_DOUBLE_EQ(yarn.frequencies()[31], plain.frequencies()[31] / 40);
  for (size_t i = 1; i < 32; ++i) EXPECT_LT(yarn.frequencies()[i], yarn.frequencies()[i - 1]);
}

TEST(Rope, YarnMagnitudeMultipliesCosAndSin) {
  RopeSpec spec = Plain(4, RopeLayout::kHalfSplit);
  spec.magnitude = 1.3466;
  const Rope rope(spec);
  EXPECT_NEAR(rope.At(0).cos[1], 1.3466, 1e-6);
}

TEST(Rope, Llama3BlendsBetweenTheTwoWavelengths) {
  RopeSpec spec = Plain(128, RopeLayout::kHalfSplit);
  spec.theta = 500000;
  const Rope plain(spec);
  spec.scaling = RopeScaling::kLlama3;
  spec.factor = 8;
  spec.low_freq_factor = 1;
  spec.high_freq_factor = 4;
  spec.original_context = 8192;
  const Rope scaled(spec);
  for (size_t i = 0; i < 64; ++i) {
    const double wavelength = 2 * std::numbers::pi / plain.frequencies()[i];
    const double ratio = plain.frequencies()[i] / scaled.frequencies()[i];
    const double low = wavelength > 8192.0 ? 8 : 1, high = wavelength < 8192.0 / 4 ? 1 : 8;
    EXPECT_GE(ratio, low - 1e-12);
    EXPECT_LE(ratio, high + 1e-12);
  }
}

TEST(Rope, DivisorsFromAFileDivideFrequencies) {
  RopeSpec spec = Plain(4, RopeLayout::kInterleaved);
  const Rope plain(spec);
  spec.divisors = {1.0f, 8.0f};
  const Rope divided(spec);
  EXPECT_DOUBLE_EQ(divided.frequencies()[0], plain.frequencies()[0]);
  EXPECT_DOUBLE_EQ(divided.frequencies()[1], plain.frequencies()[1] / 8);
}

}  // namespace
}  // namespace deepshock
