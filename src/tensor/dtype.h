// SPDX-License-Identifier: Apache-2.0
// Element types of stored tensors. Each quantised type's bit layout is specified where its codec is
// (tensor/codec_*.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace deepshock {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF8E4M3,       // DeepSeek-V3: one float32 scale for each 128x128 block, in a second tensor
  kMxfp4,        // GGUF: 17-byte blocks of 32
  kMxfp4Split,   // gpt-oss safetensors: nibbles and scales in two tensors
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  // Never weights: read from reference files and skipped buffers.
  kF64,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
};

struct DTypeInfo {
  std::string_view name;   // as the user writes it: "bf16", "q4_k"
  int block_elements;      // elements that share a scale in the stored layout; 1 where there are no blocks
  int block_bytes;         // stored bytes of one block (without the scales of the types that keep them apart)
  bool is_weight;          // can be decoded to float32 by tensor/codec.h
};

const DTypeInfo& Info(DType dtype);
inline std::string_view Name(DType dtype) { return Info(dtype).name; }

// Stored bytes of `elements` elements in a row; elements must be a multiple of the block.
int64_t RowBytes(DType dtype, int64_t elements);

// By the user's name, case ignored.
std::optional<DType> ParseDType(std::string_view name);

}  // namespace deepshock
