// SPDX-License-Identifier: Apache-2.0
// How keys and values lie in memory, for the attention kernels. Tokens are stored in groups of kKvGroup; in a
// group each key-value head has one part, [keys | values | scales], so that the kernels stream it. In it,
// with dims padded to multiples of 16 by zeros:
//   kF32   keys [32][key_pad], values [32][value_pad] float32
//   kQ16   2x2 blocks: [16 token pairs][pad / 2][2 tokens][2 dims] int16, keys then values; then for each key
//          section float32 scale [32]; then of the values float32 scale [32]. Two dims of one token lie
//          together for scores, two tokens of one dim are a shuffle inside 8 bytes away for sums.
//   kQ8    4x4 blocks: [8 token quads][pad / 4][4 tokens][4 dims] int8, likewise; behind each section's
//          scales int32 sums of its int8 [32].
// x = scale * integer, scale = largest magnitude / 32767 (127), for each token, head and section apart.
// A key may have two sections, [0, key_split) and [key_split, key_dim), each padded for itself: MLA's latent
// and its rotary part, which differ in size and so have scales of their own. MLA's values are its first
// section and are not stored again (shared_values). A group is zeroed before its first token is stored: the
// kernels read all of it. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace deepshock {

enum class KvType : uint8_t { kF32, kQ16, kQ8 };

// "f32", "q16", "q8"
std::string_view Name(KvType type);
Result<KvType> KvTypeByName(std::string_view name);

inline constexpr int64_t kKvGroup = 32;  // tokens
inline constexpr int64_t kKvPad = 16;    // dims
// Rows whose largest magnitude is no more are stored as zeros: one by it would be infinite.
inline constexpr float kLeastScaled = 0x1p-100f;

constexpr int64_t PadDims(int64_t dims) { return (dims + kKvPad - 1) / kKvPad * kKvPad; }

struct KvLayout {
  KvType type = KvType::kF32;
  int64_t num_heads = 1;  // key-value heads
  int64_t key_dim = 0;
  int64_t value_dim = 0;
  int64_t key_split = 0;       // dims of the first key section; 0: all are one section
  bool shared_values = false;  // values are the first value_dim dims of the keys

  int64_t first_section() const { return key_split > 0 ? key_split : key_dim; }
  int64_t num_sections() const { return key_split > 0 ? 2 : 1; }
  // Padded dims.
  int64_t first_pad() const { return PadDims(first_section()); }
  int64_t key_pad() const { return first_pad() + PadDims(key_dim - first_section()); }
  int64_t value_pad() const { return PadDims(value_dim); }
  int64_t element_bytes() const { return type == KvType::kF32 ? 4 : type == KvType::kQ16 ? 2 : 1; }
  // Offsets in a head's part of a group.
  int64_t values_at() const { return shared_values ? 0 : kKvGroup * key_pad() * element_bytes(); }
  // From one token (f32), pair (q16) or quad (q8) of values to the next, in bytes.
  int64_t value_stride() const;
  int64_t scales_at() const {
    return kKvGroup * (key_pad() + (shared_values ? 0 : value_pad())) * element_bytes();
  }
  int64_t key_scales_at(int64_t section) const {
    return scales_at() + section * (type == KvType::kQ8 ? 2 : 1) * kKvGroup * 4;
  }
  int64_t value_scales_at() const { return shared_values ? scales_at() : key_scales_at(num_sections()); }
  int64_t head_bytes() const;
  int64_t group_bytes() const { return num_heads * head_bytes(); }
};

// Stores one head of one token, key [key_dim] and value [value_dim] (null where shared), in slot 0..31 of the
// head's part of a group.
void StoreKv(const KvLayout& layout, const float* key, const float* value, int64_t slot, std::byte* part);

// Stores the first `count` tokens of a group's part, rows `key_stride` and `value_stride` floats apart, and
// zeros behind them.
void StoreGroup(const KvLayout& layout, const float* keys, int64_t key_stride, const float* values,
                int64_t value_stride, int64_t count, std::byte* part);

// The stored numbers of one token as float32: the padded key [key_pad], the padded value [value_pad].
void LoadKey(const KvLayout& layout, const std::byte* part, int64_t slot, float* key);
void LoadValue(const KvLayout& layout, const std::byte* part, int64_t slot, float* value);

}  // namespace deepshock
