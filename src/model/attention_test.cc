// SPDX-License-Identifier: Apache-2.0
#include "model/attention.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

// DeepSeek-V2-Lite's.
AttentionSpec Spec() {
  AttentionSpec a;
  a.kind = AttentionKind::kLatent;
  a.num_heads = 16;
  a.head_dim = 192;
  a.v_head_dim = 128;
  a.kv_lora_rank = 512;
  a.nope_dim = 128;
  a.rope_dim = 64;
  return a;
}

TEST(Attention, PromptsAreExpandedAndFewRowsAreNot) {
  const AttentionSpec a = Spec();
  EXPECT_TRUE(WorthExpanding(a, 0, 512));
  EXPECT_TRUE(WorthExpanding(a, 2048, 512));
  EXPECT_TRUE(WorthExpanding(a, 0, 16));
  // What speculation checks costs what one row does, and must be computed as one row is.
  for (int64_t rows = 1; rows <= 9; ++rows) {
    for (const int64_t kept : {0, 1, 100, 10000}) EXPECT_FALSE(WorthExpanding(a, kept, rows)) << rows;
  }
  EXPECT_FALSE(WorthExpanding(a, 2048, 64));     // expanding 2112 tokens costs more than it saves
  EXPECT_FALSE(WorthExpanding(a, 100000, 512));  // memory
}

TEST(Attention, StateOfBothKinds) {
  AttentionSpec a = Spec();
  // V2-Lite: 512 + 64 numbers a token.
  EXPECT_EQ(StateLayout(a, KvType::kF32).group_bytes(), kKvGroup * 576 * 4);
  EXPECT_EQ(StateLayout(a, KvType::kQ16).group_bytes(), kKvGroup * (576 * 2 + 2 * 4));
  EXPECT_EQ(StateLayout(a, KvType::kQ8).group_bytes(), kKvGroup * (576 + 2 * 8));
  a.kind = AttentionKind::kGrouped;
  a.num_kv_heads = 4;
  a.head_dim = 128;
  EXPECT_EQ(StateLayout(a, KvType::kQ16).group_bytes(), kKvGroup * 4 * (256 * 2 + 4 + 4));
  EXPECT_EQ(StateLayout(a, KvType::kQ8).group_bytes(), kKvGroup * 4 * (256 + 8 + 4));
}

}  // namespace
}  // namespace deepshock
