// SPDX-License-Identifier: Apache-2.0
// Q4_K and Q6_K quantisers: the best scale of each group as if it were stored in full, then the super-block's
// scales and the groups' integers in turns, each chosen for the smallest weighted squared error given the
// other.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/codec_float.h"
#include "tensor/codec_kquant.h"
#include "tensor/scale_search.h"

namespace deepshock {
namespace {

constexpr int kElements = 256;
constexpr int kRounds = 4;  // the error stops falling after two or three

void PackScaleMin(int g, int scale, int min, uint8_t scales[12]) {
  if (g < 4) {
    scales[g] = static_cast<uint8_t>((scales[g] & 0xC0) | scale);
    scales[g + 4] = static_cast<uint8_t>((scales[g + 4] & 0xC0) | min);
    return;
  }
  scales[g + 4] = static_cast<uint8_t>((scale & 0xF) | (min & 0xF) << 4);
  scales[g - 4] = static_cast<uint8_t>((scales[g - 4] & 0x3F) | scale >> 4 << 6);
  scales[g] = static_cast<uint8_t>((scales[g] & 0x3F) | min >> 4 << 6);
}

// ---- Q4_K ----

constexpr int kGroups4 = 8, kGroup4 = 32;

struct State4 {
  uint16_t d = 0, dmin = 0;
  int scale[kGroups4] = {};
  int min[kGroups4] = {};
  double error = std::numeric_limits<double>::infinity();
};

// The integers of each group, searched around `wanted`, for the super-block scales in `state`.
void ChooseIntegers4(const float* x, const float* w, const AffineScale* wanted, State4* state) {
  const float d = F16ToF32(state->d), dmin = F16ToF32(state->dmin);
  const float inverse_d = InverseOrZero(d), inverse_dmin = InverseOrZero(dmin);
  state->error = 0;
  for (int g = 0; g < kGroups4; ++g) {
    const int scale0 = static_cast<int>(RoundClamped(wanted[g].scale * inverse_d, 0, 63));
    const int min0 = static_cast<int>(RoundClamped(wanted[g].min * inverse_dmin, 0, 63));
    float best = std::numeric_limits<float>::infinity();
    for (int scale = std::max(0, scale0 - 1); scale <= std::min(63, scale0 + 1); ++scale) {
      for (int min = std::max(0, min0 - 2); min <= std::min(63, min0 + 2); ++min) {
        const float error = GroupError(x + g * kGroup4, w + g * kGroup4, kGroup4,
                                       d * static_cast<float>(scale), dmin * static_cast<float>(min), 0, 15);
        if (error >= best) continue;
        best = error;
        state->scale[g] = scale;
        state->min[g] = min;
      }
    }
    state->error += best;
  }
}

// Least squares for the super-block scales, given everything else: x ~ d * a - dmin * b.
void RefitScales4(const float* x, const float* w, State4* state) {
  const float d = F16ToF32(state->d), dmin = F16ToF32(state->dmin);
  double aa = 0, bb = 0, ab = 0, xa = 0, xb = 0;
  for (int e = 0; e < kElements; ++e) {
    const int g = e / kGroup4;
    const float scale = static_cast<float>(state->scale[g]), min = static_cast<float>(state->min[g]);
    const float a = scale * RoundClamped(InverseOrZero(d * scale) * (x[e] + dmin * min), 0, 15);
    aa += w[e] * a * a;
    bb += w[e] * min * min;
    ab += w[e] * a * min;
    xa += w[e] * x[e] * a;
    xb += w[e] * x[e] * min;
  }
  const double determinant = aa * bb - ab * ab;
  if (determinant > 1e-9 * aa * bb) {
    const double new_d = (xa * bb - xb * ab) / determinant, new_dmin = (xa * ab - xb * aa) / determinant;
    if (new_d <= 0 || new_dmin < 0) return;
    state->d = RoundScaleToF16(static_cast<float>(new_d));
    state->dmin = RoundScaleToF16(static_cast<float>(new_dmin));
  } else if (bb == 0 && aa > 0 && xa > 0) {
    state->d = RoundScaleToF16(static_cast<float>(xa / aa));
  }
}

void Pack4(const float* x, const State4& state, BlockQ4_K* block) {
  *block = {};
  block->d = state.d;
  block->dmin = state.dmin;
  const float d = F16ToF32(state.d), dmin = F16ToF32(state.dmin);
  for (int g = 0; g < kGroups4; ++g) {
    PackScaleMin(g, state.scale[g], state.min[g], block->scales);
    const float inverse = InverseOrZero(d * static_cast<float>(state.scale[g]));
    const float min = dmin * static_cast<float>(state.min[g]);
    for (int l = 0; l < kGroup4; ++l) {
      const int q = static_cast<int>(RoundClamped(inverse * (x[g * kGroup4 + l] + min), 0, 15));
      block->qs[g / 2 * 32 + l] |= static_cast<uint8_t>(g % 2 == 0 ? q : q << 4);
    }
  }
}

// ---- Q6_K ----

constexpr int kGroups6 = 16, kGroup6 = 16;

struct State6 {
  uint16_t d = 0;
  int scale[kGroups6] = {};
  double error = std::numeric_limits<double>::infinity();
};

void ChooseIntegers6(const float* x, const float* w, const float* wanted, State6* state) {
  const float d = F16ToF32(state->d), inverse_d = InverseOrZero(d);
  state->error = 0;
  for (int g = 0; g < kGroups6; ++g) {
    const int scale0 = static_cast<int>(RoundClamped(wanted[g] * inverse_d, -128, 127));
    float best = std::numeric_limits<float>::infinity();
    for (int scale = std::max(-128, scale0 - 2); scale <= std::min(127, scale0 + 2); ++scale) {
      const float error =
          GroupError(x + g * kGroup6, w + g * kGroup6, kGroup6, d * static_cast<float>(scale), 0, -32, 31);
      if (error >= best) continue;
      best = error;
      state->scale[g] = scale;
    }
    state->error += best;
  }
}

// Least squares for d: x ~ d * a.
void RefitScale6(const float* x, const float* w, State6* state) {
  const float d = F16ToF32(state->d);
  double aa = 0, xa = 0;
  for (int e = 0; e < kElements; ++e) {
    const float scale = static_cast<float>(state->scale[e / kGroup6]);
    const float a = scale * RoundClamped(InverseOrZero(d * scale) * x[e], -32, 31);
    aa += w[e] * a * a;
    xa += w[e] * x[e] * a;
  }
  if (aa > 0 && xa != 0) state->d = RoundScaleToF16(static_cast<float>(xa / aa));
}

void Pack6(const float* x, const State6& state, BlockQ6_K* block) {
  *block = {};
  block->d = state.d;
  const float d = F16ToF32(state.d);
  for (int g = 0; g < kGroups6; ++g) block->scales[g] = static_cast<int8_t>(state.scale[g]);
  for (int e = 0; e < kElements; ++e) {
    const float inverse = InverseOrZero(d * static_cast<float>(state.scale[e / kGroup6]));
    const int q = static_cast<int>(RoundClamped(inverse * x[e], -32, 31)) + 32;
    const int h = e / 128, j = e % 128 / 32, l = e % 32;
    block->ql[h * 64 + j % 2 * 32 + l] |= static_cast<uint8_t>((q & 0xF) << (j < 2 ? 0 : 4));
    block->qh[h * 32 + l] |= static_cast<uint8_t>(q >> 4 << (2 * j));
  }
}

}  // namespace

void EncodeBlock(const float* values, const float* weights, BlockQ4_K* block) {
  AffineScale wanted[kGroups4];
  float largest_scale = 0, largest_min = 0;
  for (int g = 0; g < kGroups4; ++g) {
    wanted[g] = FindScaleAndMin(values + g * kGroup4, weights + g * kGroup4, kGroup4, 15);
    largest_scale = std::max(largest_scale, wanted[g].scale);
    largest_min = std::max(largest_min, wanted[g].min);
  }
  State4 state, best;
  state.d = RoundScaleToF16(largest_scale / 63);
  state.dmin = RoundScaleToF16(largest_min / 63);
  for (int round = 0; round < kRounds; ++round) {
    ChooseIntegers4(values, weights, wanted, &state);
    if (state.error >= best.error) break;
    best = state;
    RefitScales4(values, weights, &state);
  }
  Pack4(values, best, block);
}

void EncodeBlock(const float* values, const float* weights, BlockQ6_K* block) {
  float wanted[kGroups6];
  float largest = 0;  // by magnitude, with its sign
  for (int g = 0; g < kGroups6; ++g) {
    wanted[g] = FindScale(values + g * kGroup6, weights + g * kGroup6, kGroup6, -32, 31);
    if (std::fabs(wanted[g]) > std::fabs(largest)) largest = wanted[g];
  }
  State6 state, best;
  state.d = RoundScaleToF16(largest / -128);
  for (int round = 0; round < kRounds; ++round) {
    ChooseIntegers6(values, weights, wanted, &state);
    if (state.error >= best.error) break;
    best = state;
    RefitScale6(values, weights, &state);
  }
  Pack6(values, best, block);
}

}  // namespace deepshock
