// SPDX-License-Identifier: Apache-2.0
#include "tensor/codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tensor/codec_float.h"

namespace deepshock {
namespace {

uint32_t Bits(float f) { return std::bit_cast<uint32_t>(f); }

// ---- Single numbers: against their definition, computed by ldexp ----

// Value of sign.exponent.fraction bits; specials are the caller's.
double Defined(uint32_t v, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(v >> fraction_bits) & ((1 << exponent_bits) - 1);
  const double fraction = std::ldexp(v & ((1u << fraction_bits) - 1), -fraction_bits);
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias);
  return (v >> (exponent_bits + fraction_bits)) & 1 ? -magnitude : magnitude;
}

TEST(CodecFloat, EveryF16) {
  for (uint32_t v = 0; v < 65536; ++v) {
    const float got = F16ToF32(static_cast<uint16_t>(v));
    if ((v & 0x7C00) == 0x7C00) {
      EXPECT_EQ(std::isnan(got), (v & 0x3FF) != 0) << v;
      EXPECT_EQ(std::isinf(got), (v & 0x3FF) == 0) << v;
      EXPECT_EQ(std::signbit(got), (v & 0x8000) != 0) << v;
      continue;
    }
    ASSERT_EQ(Bits(got), Bits(static_cast<float>(Defined(v, 5, 10)))) << v;
    ASSERT_EQ(F32ToF16(got), v);
  }
}

// Halfway between two neighbours goes to the even one; a float32 step to either side goes to the nearer one.
TEST(CodecFloat, F16AndBF16RoundToNearestEven) {
  for (uint32_t v = 0; v < 0x7BFF; ++v) {
    const float low = F16ToF32(static_cast<uint16_t>(v)), high = F16ToF32(static_cast<uint16_t>(v + 1));
    const float half = (low + high) / 2;  // exact: one more bit than F16 has
    ASSERT_EQ(F32ToF16(half), v + (v & 1)) << v;
    ASSERT_EQ(F32ToF16(std::nextafter(half, low)), v);
    ASSERT_EQ(F32ToF16(std::nextafter(half, high)), v + 1);
    ASSERT_EQ(F32ToF16(-half), 0x8000 | (v + (v & 1)));
  }
  EXPECT_EQ(F32ToF16(65519.99f), 0x7BFF);
  EXPECT_EQ(F32ToF16(65520.0f), 0x7C00);
  EXPECT_EQ(F32ToF16(1e30f), 0x7C00);
  EXPECT_EQ(F32ToF16(-INFINITY), 0xFC00);
  EXPECT_TRUE(std::isnan(F16ToF32(F32ToF16(NAN))));
  for (uint32_t v = 0; v < 0x7F7F; ++v) {
    const float low = BF16ToF32(static_cast<uint16_t>(v)), high = BF16ToF32(static_cast<uint16_t>(v + 1));
    const float half = std::bit_cast<float>(v << 16 | 0x8000);
    ASSERT_EQ(F32ToBF16(low), v);
    ASSERT_EQ(F32ToBF16(half), v + (v & 1)) << v;
    ASSERT_EQ(F32ToBF16(std::nextafter(half, low)), v);
    ASSERT_EQ(F32ToBF16(std::nextafter(half, high)), v + 1);
  }
  EXPECT_TRUE(std::isnan(BF16ToF32(F32ToBF16(std::bit_cast<float>(0x7F800001u)))));
}

TEST(CodecFloat, EveryF8E4M3AndE8M0) {
  for (uint32_t v = 0; v < 256; ++v) {
    const float got = F8E4M3ToF32(static_cast<uint8_t>(v));
    if ((v & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(got)) << v;
    } else {
      EXPECT_EQ(Bits(got), Bits(static_cast<float>(Defined(v, 4, 3)))) << v;
    }
    const float scale = E8M0ToF32(static_cast<uint8_t>(v));
    if (v == 255) {
      EXPECT_TRUE(std::isnan(scale));
    } else {
      EXPECT_EQ(scale, std::ldexp(1.0f, static_cast<int>(v) - 127)) << v;
    }
  }
  EXPECT_EQ(F8E4M3ToF32(0x7E), 448.0f);
  for (uint32_t v = 0; v < 16; ++v)
    EXPECT_EQ(Bits(kE2M1[v]), Bits(static_cast<float>(Defined(v, 2, 1)))) << v;
}

// ---- The golden file of tests/golden/make_codec_golden.py ----

class GoldenFile {
 public:
  GoldenFile() {
    std::ifstream file(DEEPSHOCK_SOURCE_DIR "/tests/golden/codec_golden.bin", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
  }
  bool empty() const { return bytes_.empty(); }
  template <typename T>
  T Read() {
    return ReadMany<T>(1)[0];
  }
  template <typename T>
  std::vector<T> ReadMany(size_t count) {
    std::vector<T> out(count);
    DS_CHECK(at_ + count * sizeof(T) <= bytes_.size(), "golden file too short");
    std::memcpy(out.data(), bytes_.data() + at_, count * sizeof(T));
    at_ += count * sizeof(T);
    return out;
  }
  DType ReadType() {
    const std::vector<char> name = ReadMany<char>(16);
    const auto dtype = ParseDType(std::string_view(name.data(), strnlen(name.data(), 16)));
    DS_CHECK(dtype.has_value(), "golden file names an unknown type");
    return *dtype;
  }

 private:
  std::vector<char> bytes_;
  size_t at_ = 0;
};

Matrix OneRow(DType dtype, int64_t cols, const std::vector<std::byte>& data) {
  return {.dtype = dtype, .rows = 1, .cols = cols, .data = data.data(), .row_stride = RowBytes(dtype, cols)};
}

std::vector<float> Decode(DType dtype, int64_t cols, const std::vector<std::byte>& data) {
  std::vector<float> out(cols);
  DecodeRow(OneRow(dtype, cols, data), 0, out.data());
  return out;
}

std::vector<float> RoundTrip(DType dtype, std::span<const float> values,
                             std::span<const float> importance = {}) {
  std::vector<std::byte> data(RowBytes(dtype, static_cast<int64_t>(values.size())));
  const Status status = EncodeRow(dtype, values, importance, data.data());
  EXPECT_TRUE(status.ok()) << status.message();
  return Decode(dtype, static_cast<int64_t>(values.size()), data);
}

double SquaredError(std::span<const float> x, std::span<const float> y, std::span<const float> weights = {}) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double error = static_cast<double>(x[i]) - y[i];
    sum += error * error * (weights.empty() ? 1.0 : static_cast<double>(weights[i]));
  }
  return sum;
}

std::vector<float> FromBF16(const std::vector<uint16_t>& halves) {
  std::vector<float> out(halves.size());
  std::transform(halves.begin(), halves.end(), out.begin(), BF16ToF32);
  return out;
}

TEST(Codec, DecodesAsTheGgufPackageDoes) {
  GoldenFile golden;
  ASSERT_FALSE(golden.empty());
  const uint32_t records = golden.Read<uint32_t>();
  EXPECT_EQ(records, 11u);
  for (uint32_t r = 0; r < records; ++r) {
    const DType dtype = golden.ReadType();
    const uint32_t bytes = golden.Read<uint32_t>(), elements = golden.Read<uint32_t>();
    ASSERT_EQ(RowBytes(dtype, elements), bytes);
    const std::vector<std::byte> data = golden.ReadMany<std::byte>(bytes);
    const std::vector<float> want = golden.ReadMany<float>(elements);
    const std::vector<float> got = Decode(dtype, elements, data);
    for (uint32_t i = 0; i < elements; ++i) ASSERT_EQ(got[i], want[i]) << Name(dtype) << " element " << i;
  }
}

// The squared error of each quantiser is at most that of llama.cpp's, on normal, heavy-tailed and
// all-positive values, plain and weighted by importance.
TEST(Codec, QuantisersAreAtLeastAsCloseAsTheReference) {
  GoldenFile golden;
  ASSERT_FALSE(golden.empty());
  for (uint32_t records = golden.Read<uint32_t>(); records > 0; --records) {
    golden.ReadType();
    const uint32_t bytes = golden.Read<uint32_t>(), elements = golden.Read<uint32_t>();
    golden.ReadMany<std::byte>(bytes + elements * sizeof(float));
  }
  const uint32_t sets = golden.Read<uint32_t>();
  for (uint32_t set = 0; set < sets; ++set) {
    const uint32_t elements = golden.Read<uint32_t>();
    const std::vector<float> x = FromBF16(golden.ReadMany<uint16_t>(elements));
    const std::vector<float> importance = FromBF16(golden.ReadMany<uint16_t>(elements));
    for (uint32_t results = golden.Read<uint32_t>(); results > 0; --results) {
      const DType dtype = golden.ReadType();
      const double plain = golden.Read<double>(), weighted = golden.Read<double>();
      const double our_plain = SquaredError(x, RoundTrip(dtype, x));
      const double our_weighted = SquaredError(x, RoundTrip(dtype, x, importance), importance);
      EXPECT_LE(our_plain, plain) << Name(dtype) << " set " << set;
      EXPECT_LE(our_weighted, weighted) << Name(dtype) << " set " << set;
      const std::string key = fmt::format("{}_set{}", Name(dtype), set);
      RecordProperty(key + "_plain", fmt::format("{:.4f}", our_plain / plain));
      RecordProperty(key + "_weighted", fmt::format("{:.4f}", our_weighted / weighted));
    }
  }
}

// ---- Layouts that GGUF does not have ----

TEST(Codec, Mxfp4SplitInterleavesNibbles) {
  std::vector<std::byte> nibbles(32), scales = {std::byte{127}, std::byte{130}};
  for (size_t i = 0; i < nibbles.size(); ++i) nibbles[i] = static_cast<std::byte>((i * 37 + 11) & 0xFF);
  Matrix m = OneRow(DType::kMxfp4Split, 64, nibbles);
  m.scales = scales.data();
  m.scale_row_stride = 2;
  std::vector<float> out(64);
  DecodeRow(m, 0, out.data());
  for (int i = 0; i < 64; ++i) {
    const int byte = static_cast<int>(nibbles[i / 2]);
    EXPECT_EQ(Bits(out[i]), Bits(kE2M1[i % 2 == 0 ? byte & 15 : byte >> 4] * (i < 32 ? 1.0f : 8.0f))) << i;
  }
  scales[1] = std::byte{255};
  DecodeRow(m, 0, out.data());
  EXPECT_FALSE(std::isnan(out[31]));
  for (int i = 32; i < 64; ++i) EXPECT_TRUE(std::isnan(out[i]) || out[i] == 0) << i;
}

// Rows and columns past the first 128 take their own scale, also through a view that starts inside a block.
TEST(Codec, Fp8TakesTheScaleOfItsBlock) {
  constexpr int kRows = 300, kCols = 200;
  std::mt19937 random(7);
  std::vector<std::byte> data(kRows * kCols);
  for (std::byte& b : data) b = static_cast<std::byte>(random() % 0x7F);
  std::vector<float> scales = {0.5f, 3.0f, 0.125f, 7.0f, 1e-3f, 2.0f};  // [3, 2]
  Matrix m = OneRow(DType::kF8E4M3, kCols, data);
  m.rows = kRows;
  m.scales = reinterpret_cast<const std::byte*>(scales.data());
  m.scale_row_stride = 2 * sizeof(float);
  std::vector<float> out(kCols);
  for (const int begin : {0, 100, 255}) {
    const Matrix view = RowsOf(m, begin, kRows - begin);
    for (int row = 0; row < view.rows; ++row) {
      DecodeRow(view, row, out.data());
      for (int col = 0; col < kCols; ++col) {
        const int stored_row = begin + row;
        const float e4m3 = F8E4M3ToF32(static_cast<uint8_t>(data[stored_row * kCols + col]));
        ASSERT_EQ(out[col], e4m3 * scales[stored_row / 128 * 2 + col / 128]) << stored_row << " " << col;
      }
    }
  }
}

TEST(Codec, RowStridesAreHonoured) {
  std::vector<float> values(6 * 2);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const Matrix m = {
      .rows = 6, .cols = 2, .data = reinterpret_cast<const std::byte*>(values.data()), .row_stride = 8};
  float out[2];
  DecodeRow(EverySecondRow(m, 1), 2, out);
  EXPECT_EQ(out[0], 10);
  EXPECT_EQ(out[1], 11);
}

// ---- Properties of the quantisers ----

const DType kEncodable[] = {DType::kF32,  DType::kF16,   DType::kBF16, DType::kQ8_0,
                            DType::kQ4_0, DType::kMxfp4, DType::kQ4_K, DType::kQ6_K};

TEST(Codec, Mxfp4IsLosslessOnItsOwnGrid) {
  std::mt19937 random(1);
  for (int round = 0; round < 4000; ++round) {
    // Scales whose grid is finite in float32; blocks of few distinct magnitudes, so that the top ones are
    // absent.
    const int exponent = static_cast<int>(random() % 253) - 127;
    const uint32_t top = 1 + random() % 8;
    std::vector<float> x(32), importance(32);
    for (int i = 0; i < 32; ++i) {
      x[i] = std::ldexp(kE2M1[(random() % top) | (random() % 2) << 3], exponent);
      importance[i] = static_cast<float>(random() % 4);
    }
    const std::vector<float> y =
        RoundTrip(DType::kMxfp4, x, round % 2 == 0 ? std::span<const float>() : importance);
    for (int i = 0; i < 32; ++i) ASSERT_EQ(Bits(x[i]), Bits(y[i])) << "2^" << exponent << " " << x[i];
  }
}

// What a quantiser wrote, it writes again with no further loss to speak of.
TEST(Codec, RequantisingChangesLittle) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> x(1024);
  for (float& v : x) v = normal(random);
  for (const DType dtype : kEncodable) {
    const std::vector<float> once = RoundTrip(dtype, x), twice = RoundTrip(dtype, once);
    const double error = SquaredError(x, once), again = SquaredError(once, twice);
    EXPECT_LE(again, 0.05 * error) << Name(dtype);
  }
}

TEST(Codec, EdgeBlocks) {
  std::vector<std::vector<float>> blocks;
  blocks.push_back(std::vector<float>(256, 0.0f));
  blocks.push_back(std::vector<float>(256, 1.0f));
  blocks.push_back(std::vector<float>(256, -1.0f));
  blocks.push_back(std::vector<float>(256, 0.0f));
  blocks.back()[17] = -3.5f;
  blocks.push_back(std::vector<float>(256, 60000.0f));
  for (const DType dtype : kEncodable) {
    for (size_t b = 0; b < blocks.size(); ++b) {
      const std::vector<float> y = RoundTrip(dtype, blocks[b]);
      for (int i = 0; i < 256; ++i) {
        const float x = blocks[b][i];
        EXPECT_NEAR(y[i], x, std::fabs(x) * (dtype == DType::kMxfp4 ? 0.2f : 0.01f))
            << Name(dtype) << " block " << b;
      }
    }
    // Far below what an F16 scale can hold, and subnormal: still finite and not larger than a step of that
    // scale.
    for (const float tiny : {1e-9f, 1e-40f}) {
      const std::vector<float> x(256, tiny);
      for (const float y : RoundTrip(dtype, x)) EXPECT_LE(std::fabs(y), 6e-8f) << Name(dtype);
    }
    EXPECT_TRUE(EncodeRow(dtype, {}, {}, nullptr).ok());
  }
}

TEST(Codec, ImportanceMovesTheErrorAway) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> x(2048), importance(2048);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = normal(random);
    importance[i] = i % 8 == 0 ? 100.0f : 1.0f;
  }
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
    const double plain = SquaredError(x, RoundTrip(dtype, x), importance);
    const double weighted = SquaredError(x, RoundTrip(dtype, x, importance), importance);
    EXPECT_LT(weighted, 0.9 * plain) << Name(dtype);
  }
  // All zero, enormous and minute weights are all usable.
  for (const float w : {0.0f, 1e38f, 1e-38f}) {
    const double error = SquaredError(x, RoundTrip(DType::kQ4_K, x, std::vector<float>(x.size(), w)));
    EXPECT_NEAR(error, SquaredError(x, RoundTrip(DType::kQ4_K, x)), 0.01 * error);
  }
}

TEST(Codec, RefusalsNameThePosition) {
  std::vector<float> x(512, 1.0f);
  std::vector<std::byte> out(4096);
  const auto message = [&](DType dtype, std::span<const float> importance = {}) {
    return EncodeRow(dtype, x, importance, out.data()).message();
  };
  for (const DType dtype : kEncodable) {
    ASSERT_TRUE(CanEncode(dtype));
    x[300] = NAN;
    EXPECT_EQ(message(dtype), "element 300: expected a finite value, found nan");
    x[300] = -INFINITY;
    EXPECT_EQ(message(dtype), "element 300: expected a finite value, found -inf");
    x[300] = 1;
  }
  x[2] = 1e6f;
  EXPECT_EQ(message(DType::kQ4_K), "element 2: expected at most 65504 for q4_k, found 1000000");
  EXPECT_EQ(message(DType::kBF16), "");
  x[2] = 1;
  std::vector<float> importance(512, 1.0f);
  importance[9] = -1;
  EXPECT_EQ(message(DType::kQ8_0, importance),
            "importance 9: expected a finite value of at least 0, found -1");
  importance.resize(5);
  EXPECT_EQ(message(DType::kQ8_0, importance), "expected 512 importance weights, found 5");
  x.resize(100);
  EXPECT_EQ(message(DType::kQ6_K), "q6_k: expected a row of whole blocks of 256 elements, found 100");
  EXPECT_FALSE(CanEncode(DType::kQ5_K));
  EXPECT_EQ(message(DType::kQ5_K), "expected a type that can be written, found q5_k");
}

}  // namespace
}  // namespace deepshock
