// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tensor/codec_kquant.h"
#include "tensor/codec_legacy.h"
#include "tensor/codec_mxfp4.h"

namespace deepshock {
namespace {

TEST(DType, NamesAreDistinctAndParseBack) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(DType::kBool); ++i) {
    const DType dtype = static_cast<DType>(i);
    EXPECT_TRUE(names.insert(Name(dtype)).second) << Name(dtype);
    EXPECT_EQ(ParseDType(Name(dtype)), dtype);
  }
  EXPECT_EQ(ParseDType("Q4_K"), DType::kQ4_K);
  EXPECT_EQ(ParseDType("BF16"), DType::kBF16);
  EXPECT_EQ(ParseDType("q4_k "), std::nullopt);
  EXPECT_EQ(ParseDType(""), std::nullopt);
}

TEST(DType, RowBytes) {
  EXPECT_EQ(RowBytes(DType::kF32, 3), 12);
  EXPECT_EQ(RowBytes(DType::kF8E4M3, 7168), 7168);
  EXPECT_EQ(RowBytes(DType::kMxfp4, 64), 34);
  EXPECT_EQ(RowBytes(DType::kMxfp4Split, 64), 32);
  EXPECT_EQ(RowBytes(DType::kQ6_K, 512), 420);
  EXPECT_EQ(RowBytes(DType::kI64, 0), 0);
  EXPECT_DEATH((void)RowBytes(DType::kQ4_K, 100), "whole blocks");
}

template <typename Block>
void ExpectBlock(DType dtype) {
  EXPECT_EQ(Info(dtype).block_elements, Block::kElements) << Name(dtype);
  EXPECT_EQ(Info(dtype).block_bytes, static_cast<int>(sizeof(Block))) << Name(dtype);
  EXPECT_TRUE(Info(dtype).is_weight) << Name(dtype);
}

TEST(DType, TableAgreesWithTheBlocks) {
  ExpectBlock<BlockMxfp4>(DType::kMxfp4);
  ExpectBlock<BlockQ4_0>(DType::kQ4_0);
  ExpectBlock<BlockQ4_1>(DType::kQ4_1);
  ExpectBlock<BlockQ5_0>(DType::kQ5_0);
  ExpectBlock<BlockQ5_1>(DType::kQ5_1);
  ExpectBlock<BlockQ8_0>(DType::kQ8_0);
  ExpectBlock<BlockQ2_K>(DType::kQ2_K);
  ExpectBlock<BlockQ3_K>(DType::kQ3_K);
  ExpectBlock<BlockQ4_K>(DType::kQ4_K);
  ExpectBlock<BlockQ5_K>(DType::kQ5_K);
  ExpectBlock<BlockQ6_K>(DType::kQ6_K);
  EXPECT_FALSE(Info(DType::kI8).is_weight);
}

}  // namespace
}  // namespace deepshock
