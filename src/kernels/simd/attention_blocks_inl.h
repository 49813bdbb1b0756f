// SPDX-License-Identifier: Apache-2.0
// How the rooms that compute on stored bfloat16 and 8-bit tokens walk over them: a block of keys, asked for
// ahead, against tiles of queries. After <isa>/vector.h.
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
    const int64_t bytes = g.value_pad * (g.type == KvType::kBF16 ? 2 : 1);
    const std::byte* from = Group(t) + g.values_at + t % kKvGroup * bytes;
    for (int64_t at = 0; at < count * bytes; at += 64) Prefetch(from + at);
  }
};

}  // namespace
}  // namespace deepshock
