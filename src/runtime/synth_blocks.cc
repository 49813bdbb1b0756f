// SPDX-License-Identifier: Apache-2.0
// Random blocks of every stored type. Quants are random bits, which are valid in all of these formats; only
// the scales must be set. Which scale gives the wanted deviation is found by decoding blocks of scale 1 with
// the codec, so no format's arithmetic is repeated here.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "runtime/synth.h"
#include "tensor/codec.h"
#include "tensor/codec_float.h"

namespace deepshock {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): one addition and a mix for each 64 bits, any start.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() { return Mix(state_ += 0x9E3779B97F4A7C15u); }
  static uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

// Where a format keeps its F16 scales within a block, and what the second is to the first so that values have
// mean 0 (quants are uniform).
struct ScalePlaces {
  int first = -1;
  int second = -1;
  float ratio = 0;
};

ScalePlaces PlacesOf(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
      return {0, -1, 0};
    case DType::kQ4_1:
      return {0, 2, -7.5f};
    case DType::kQ5_1:
      return {0, 2, -15.5f};
    case DType::kQ2_K:
      return {80, 82, 1.5f};
    case DType::kQ3_K:
      return {108, -1, 0};
    case DType::kQ4_K:
      return {0, 2, 7.5f};
    case DType::kQ5_K:
      return {0, 2, 15.5f};
    case DType::kQ6_K:
      return {208, -1, 0};
    default:
      return {};
  }
}

void RandomBytes(Random& random, std::span<std::byte> out) {
  size_t i = 0;
  for (; i + 8 <= out.size(); i += 8) {
    const uint64_t bits = random.Next();
    std::memcpy(out.data() + i, &bits, 8);
  }
  const uint64_t bits = random.Next();
  std::memcpy(out.data() + i, &bits, out.size() - i);
}

// Q8_0 is symmetric: no quantiser writes -128, and kernels may rely on that.
void ForbidMinus128(std::span<std::byte> blocks) {
  for (std::byte& b : blocks) b = b == std::byte{0x80} ? std::byte{0} : b;
}

// Root mean square of random blocks whose scale is 1.
double UnitDeviation(DType dtype) {
  constexpr int kBlocks = 256;
  const DTypeInfo& info = Info(dtype);
  const ScalePlaces places = PlacesOf(dtype);
  std::vector<std::byte> blocks(static_cast<size_t>(kBlocks * info.block_bytes));
  Random random(1);
  RandomBytes(random, blocks);
  if (dtype == DType::kQ8_0) ForbidMinus128(blocks);
  for (int b = 0; b < kBlocks; ++b) {
    std::byte* block = blocks.data() + b * info.block_bytes;
    if (dtype == DType::kMxfp4) block[0] = std::byte{127};  // 2^0
    const uint16_t one = F32ToF16(1.0f), second = F32ToF16(places.ratio);
    if (places.first >= 0) std::memcpy(block + places.first, &one, 2);
    if (places.second >= 0) std::memcpy(block + places.second, &second, 2);
  }
  const int64_t n = int64_t{kBlocks} * info.block_elements;
  std::vector<float> values(static_cast<size_t>(n));
  DecodeRow(Matrix{dtype, 1, n, blocks.data(), static_cast<int64_t>(blocks.size())}, 0, values.data());
  double sum = 0;
  for (const float v : values) sum += double{v} * v;
  return std::sqrt(sum / static_cast<double>(n));
}

}  // namespace

BlockSource::BlockSource(DType dtype, double mean, double deviation)
    : dtype_(dtype), mean_(static_cast<float>(mean)), deviation_(static_cast<float>(deviation)) {
  if (Info(dtype).block_elements == 1) return;
  const double scale = deviation / UnitDeviation(dtype);
  if (dtype == DType::kMxfp4) {
    // Powers of two: half of the blocks take the one below, half the one above.
    const int exponent = static_cast<int>(std::lround(std::log2(scale) - 0.5)) + 127;
    for (int i = 0; i < 16; ++i) scales_[i] = static_cast<uint16_t>(std::clamp(exponent + i % 2, 1, 253));
    return;
  }
  const ScalePlaces places = PlacesOf(dtype);
  DS_CHECK(places.first >= 0, "a type that GGUF has");
  for (int i = 0; i < 16; ++i) {
    // Eight sizes around the wanted one, each in both signs, so that means vanish in one-sided formats too.
    const double size = scale * (0.825 + 0.05 * (i % 8)) * (i < 8 ? 1 : -1);
    scales_[i] = F32ToF16(static_cast<float>(size));
    seconds_[i] = F32ToF16(static_cast<float>(size) * places.ratio);
  }
}

void BlockSource::Fill(uint64_t seed, uint64_t piece, std::span<std::byte> blocks) const {
  const uint64_t key = Random::Mix(seed + Random::Mix(piece + 0x632BE59BD9B4E019u));
  if (Info(dtype_).block_elements == 1) {
    FillFloats(key, blocks);
  } else {
    FillBlocks(key, blocks);
  }
}

// The sum of four uniform bytes is near enough to normal: mean 510, variance 4 (256^2 - 1) / 12.
void BlockSource::FillFloats(uint64_t seed, std::span<std::byte> out) const {
  const size_t width = static_cast<size_t>(Info(dtype_).block_bytes);
  const float step = deviation_ / std::sqrt(4 * 65535 / 12.0f);
  Random random(seed);
  uint64_t bits = 0;
  for (size_t i = 0; i * width < out.size(); ++i) {
    bits = i % 2 == 0 ? random.Next() : bits >> 32;
    const uint64_t pairs = (bits & 0xFF00FF) + (bits >> 8 & 0xFF00FF);
    const auto sum = static_cast<float>((pairs & 0xFFFF) + (pairs >> 16 & 0xFFFF));
    const float value = mean_ + (sum - 510) * step;
    std::byte* to = out.data() + i * width;
    if (dtype_ == DType::kF32) {
      std::memcpy(to, &value, 4);
    } else {
      const uint16_t half = dtype_ == DType::kF16 ? F32ToF16(value) : F32ToBF16(value);
      std::memcpy(to, &half, 2);
    }
  }
}

void BlockSource::FillBlocks(uint64_t seed, std::span<std::byte> out) const {
  const auto block_bytes = static_cast<size_t>(Info(dtype_).block_bytes);
  DS_CHECK(out.size() % block_bytes == 0, "whole blocks");
  const ScalePlaces places = PlacesOf(dtype_);
  Random random(seed);
  RandomBytes(random, out);
  if (dtype_ == DType::kQ8_0) ForbidMinus128(out);
  uint64_t bits = 0;
  size_t left = 0;
  for (std::byte* block = out.data(); block < out.data() + out.size(); block += block_bytes) {
    if (left == 0) {
      bits = random.Next();
      left = 16;
    }
    const size_t which = bits & 15;
    bits >>= 4;
    --left;
    if (dtype_ == DType::kMxfp4) {
      block[0] = static_cast<std::byte>(scales_[which]);
      continue;
    }
    std::memcpy(block + places.first, &scales_[which], 2);
    if (places.second >= 0) std::memcpy(block + places.second, &seconds_[which], 2);
  }
}

}  // namespace deepshock
