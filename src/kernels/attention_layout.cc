// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention_layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace deepshock {
namespace {

constexpr std::string_view kNames[] = {"f32", "q16", "q8"};

// Where element `dim` of `slot` lies in an array [32][pad] stored in side x side blocks, in elements.
int64_t BlockedIndex(int64_t side, int64_t pad, int64_t slot, int64_t dim) {
  return slot / side * side * pad + dim / side * side * side + slot % side * side + dim % side;
}

void StoreF32(const float* x, int64_t dims, int64_t pad, int64_t slot, std::byte* array) {
  std::byte* row = array + slot * pad * 4;
  std::memcpy(row, x, static_cast<size_t>(dims) * sizeof(float));
  std::memset(row + dims * 4, 0, static_cast<size_t>(pad - dims) * sizeof(float));
}

struct Quantised {
  float scale;
  int32_t sum;
};
// `dims` numbers at dim `first` of a row of `pad` integers in square blocks, four bytes wide; zeros up to a
// multiple of kKvPad.
template <typename Int>
Quantised StoreInts(const float* x, int64_t dims, int64_t first, int64_t pad, int64_t slot,
                    std::byte* array) {
  constexpr auto kSide = static_cast<int64_t>(4 / sizeof(Int));
  constexpr auto kMost = static_cast<float>(std::numeric_limits<Int>::max());
  float largest = 0, poison = 0;  // 0, or NaN where x has NaN or infinity
  for (int64_t k = 0; k < dims; ++k) {
    largest = std::max(largest, std::fabs(x[k]));
    poison += x[k] * 0;
  }
  if (std::isnan(poison)) return {poison, 0};  // whatever the integers are, NaN times them is NaN
  const float scale = largest / kMost, inverse = largest > kLeastScaled ? kMost / largest : 0;
  int32_t sum = 0;
  std::byte* at = array + BlockedIndex(kSide, pad, slot, first) * static_cast<int64_t>(sizeof(Int));
  for (int64_t k = 0; k < PadDims(dims); k += kSide, at += kSide * 4) {
    Int side[kSide];
    for (int64_t i = 0; i < kSide; ++i) {
      // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even.
      const float rounded = k + i < dims ? (x[k + i] * inverse + 0x1.8p23f) - 0x1.8p23f : 0;
      side[i] = static_cast<Int>(std::clamp(rounded, -kMost, kMost));
      sum += side[i];
    }
    std::memcpy(at, side, sizeof(side));
  }
  return {scale, sum};
}

void PutScale(const Quantised& q, std::byte* scales, int64_t slot, bool with_sum) {
  std::memcpy(scales + slot * 4, &q.scale, sizeof(float));
  if (with_sum) std::memcpy(scales + (kKvGroup + slot) * 4, &q.sum, sizeof(int32_t));
}

// `dims` numbers of a type that has scales, and their scale.
void StoreScaled(KvType type, const float* x, int64_t dims, int64_t first, int64_t pad, int64_t slot,
                 std::byte* array, std::byte* scales, bool is_key) {
  const bool is_q8 = type == KvType::kQ8;
  const Quantised q = is_q8 ? StoreInts<int8_t>(x, dims, first, pad, slot, array)
                            : StoreInts<int16_t>(x, dims, first, pad, slot, array);
  PutScale(q, scales, slot, is_q8 && is_key);
}

float GetFloat(const std::byte* at) {
  float value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// Dims [first, first + count) of one token.
void LoadDims(KvType type, const std::byte* array, int64_t pad, int64_t slot, int64_t first, int64_t count,
              float scale, float* out) {
  for (int64_t k = first; k < first + count; ++k) {
    float& to = out[k - first];
    if (type == KvType::kF32) {
      to = GetFloat(array + (slot * pad + k) * 4);
    } else if (type == KvType::kQ16) {
      int16_t value;
      std::memcpy(&value, array + BlockedIndex(2, pad, slot, k) * 2, sizeof(value));
      to = scale * static_cast<float>(value);
    } else {
      to = scale * static_cast<float>(static_cast<int8_t>(array[BlockedIndex(4, pad, slot, k)]));
    }
  }
}

}  // namespace

std::string_view Name(KvType type) { return kNames[static_cast<size_t>(type)]; }

Result<KvType> KvTypeByName(std::string_view name) {
  for (const KvType type : {KvType::kF32, KvType::kQ16, KvType::kQ8}) {
    if (Name(type) == name) return type;
  }
  return Fail("kv_type: expected f32, q16 or q8, found \"{}\"", name);
}

int64_t KvLayout::value_stride() const {
  const int64_t tokens = type == KvType::kF32 ? 1 : type == KvType::kQ16 ? 2 : 4;
  return tokens * (shared_values ? key_pad() : value_pad()) * element_bytes();
}

int64_t KvLayout::head_bytes() const {
  if (type == KvType::kF32) return scales_at();
  return key_scales_at(num_sections()) + (shared_values ? 0 : kKvGroup * 4);
}

void StoreKv(const KvLayout& layout, const float* key, const float* value, int64_t slot, std::byte* part) {
  const int64_t section_dims[] = {layout.first_section(), layout.key_dim - layout.first_section()};
  for (int64_t s = 0; s < layout.num_sections(); ++s) {
    const int64_t first = s == 0 ? 0 : layout.first_pad();
    const float* x = key + (s == 0 ? 0 : layout.first_section());
    if (layout.type == KvType::kF32) {
      std::memcpy(part + (slot * layout.key_pad() + first) * 4, x, static_cast<size_t>(section_dims[s]) * 4);
    } else {
      StoreScaled(layout.type, x, section_dims[s], first, layout.key_pad(), slot, part,
                  part + layout.key_scales_at(s), true);
    }
  }
  if (layout.shared_values) return;
  const int64_t dims = layout.value_dim, pad = layout.value_pad();
  std::byte* values = part + layout.values_at();
  if (layout.type == KvType::kF32) {
    StoreF32(value, dims, pad, slot, values);
  } else {
    StoreScaled(layout.type, value, dims, 0, pad, slot, values, part + layout.value_scales_at(), false);
  }
}

void StoreGroup(const KvLayout& layout, const float* keys, int64_t key_stride, const float* values,
                int64_t value_stride, int64_t count, std::byte* part) {
  std::memset(part, 0, static_cast<size_t>(layout.head_bytes()));
  for (int64_t t = 0; t < count; ++t) {
    StoreKv(layout, keys + t * key_stride, layout.shared_values ? nullptr : values + t * value_stride, t,
            part);
  }
}

void LoadKey(const KvLayout& layout, const std::byte* part, int64_t slot, float* key) {
  const bool scaled = layout.type != KvType::kF32;
  const int64_t pads[] = {layout.first_pad(), layout.key_pad() - layout.first_pad()};
  for (int64_t s = 0; s < layout.num_sections(); ++s) {
    const float scale = scaled ? GetFloat(part + layout.key_scales_at(s) + slot * 4) : 1;
    const int64_t first = s == 0 ? 0 : layout.first_pad();
    LoadDims(layout.type, part, layout.key_pad(), slot, first, pads[s], scale, key + first);
  }
}

void LoadValue(const KvLayout& layout, const std::byte* part, int64_t slot, float* value) {
  const bool scaled = layout.type != KvType::kF32;
  const float scale = scaled ? GetFloat(part + layout.value_scales_at() + slot * 4) : 1;
  const int64_t pad = layout.shared_values ? layout.key_pad() : layout.value_pad();
  LoadDims(layout.type, part + layout.values_at(), pad, slot, 0, layout.value_pad(), scale, value);
}

}  // namespace deepshock
