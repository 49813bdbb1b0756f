// SPDX-License-Identifier: Apache-2.0
// How the x86 rooms that compute on stored integers walk over them: a block of keys, asked for ahead, against
// tiles of queries; and 16-bit states as a whole. After <isa>/vector.h and <isa>/words.h.
#pragma once

#include "kernels/simd/attention_inl.h"

namespace deepshock {
namespace {

// A number known when compiling, to choose a template by.
template <int N>
struct Number {
  static constexpr int kValue = N;
};

DS_INLINE void Prefetch(const std::byte* at) { __builtin_prefetch(at, 0, 3); }

// What a tile of queries asks memory for, some lines at each step over the dims of its keys: the tiles share
// out the keys that come next, in the order in which they lie.
struct Ahead {
  const std::byte* from;
  int lines;  // a step
  DS_INLINE void Step() {
    for (int i = 0; i < lines; ++i) Prefetch(from + i * 64);
    from += lines * 64;
  }
};
// For tile `tile` of `tiles`, where all of them ask for `lines` lines at each of `steps` steps from `next`
// on, null at the end.
DS_INLINE Ahead AheadOf(const std::byte* next, int64_t lines, int64_t steps, int64_t tile, int64_t tiles) {
  const int64_t own = (lines + tiles - 1) / tiles;
  if (next == nullptr || tile * own >= lines) return {nullptr, 0};
  return {next + tile * own * steps * 64, static_cast<int>(own)};
}

// Calls tile(q, number) for tiles of queries, of kMost as long as there are so many.
template <int kMost, typename Tile>
DS_INLINE void InTiles(int64_t num_queries, const Tile& tile) {
  int64_t q = 0;
  for (; num_queries - q >= kMost; q += kMost) tile(q, Number<kMost>());
  if constexpr (kMost > 4) {
    if (num_queries - q >= 4) {
      tile(q, Number<4>());
      q += 4;
    }
  }
  if constexpr (kMost > 2) {
    if (num_queries - q >= 2) {
      tile(q, Number<2>());
      q += 2;
    }
  }
  if (q < num_queries) tile(q, Number<1>());
}

// Calls columns(column, number of registers) over the padded width, the number being kMost as long as it
// fits.
template <int kMost, typename Columns>
DS_INLINE void InColumns(int64_t value_pad, const Columns& columns) {
  int64_t c = 0;
  for (; value_pad - c >= kMost * kLanes; c += kMost * kLanes) columns(c, Number<kMost>());
  if constexpr (kMost * kLanes > 32) {
    if (value_pad - c >= 32) {
      columns(c, Number<32 / kLanes>());
      c += 32;
    }
  }
  if constexpr (kMost * kLanes > 16) {
    if (c < value_pad) columns(c, Number<16 / kLanes>());
  }
}

struct Block {
  const KvGeometry& g;
  const std::byte* part;  // of the block's first group
  int64_t group_stride;
  BlockRange seen;
  const std::byte* queries;
  int64_t query_bytes;
  int64_t num_queries;
  DS_INLINE const std::byte* Group(int64_t token) const { return part + token / kKvGroup * group_stride; }
  // Asks memory for the values of tokens [t, t + count) of one group.
  DS_INLINE void PrefetchValues(int64_t t, int64_t count) const {
    if (g.shared_values) return;
    const int64_t bytes = g.value_pad * (g.type == KvType::kQ16 ? 2 : 1);
    const std::byte* from = Group(t) + g.values_at + t % kKvGroup * bytes;
    for (int64_t at = 0; at < count * bytes; at += 64) Prefetch(from + at);
  }
};

}  // namespace
}  // namespace deepshock
