// SPDX-License-Identifier: Apache-2.0
// What passes between attention.cc and the instruction sets' rooms, under the rule of kernels/isa.h: nothing
// but a table leaves a room, and a room calls no inline function of a shared header. So layouts reach the
// kernels as plain numbers (KvGeometry).
#pragma once

#include <cstdint>

#include "kernels/attention.h"

namespace deepshock {

constexpr int64_t kQueryExtra = 64;  // bytes behind a packed query: scales of its sections

// KvLayout worked out; offsets and strides in bytes.
struct KvGeometry {
  KvType type;
  bool shared_values;
  int64_t num_sections;
  int64_t section_dims[2];
  int64_t section_pad[2];
  int64_t key_pad;
  int64_t value_dim;
  int64_t value_pad;
  int64_t values_at;
  int64_t value_stride;
  int64_t key_scales_at[2];
  int64_t value_scales_at;
};
KvGeometry GeometryOf(const KvLayout& layout);

extern const AttentionKernels kAvx2Attention;
extern const AttentionKernels kAvx512Attention;
extern const AttentionKernels kAvx512VnniAttention;
extern const AttentionKernels kNeonAttention;

}  // namespace deepshock
