// SPDX-License-Identifier: Apache-2.0
// How a model's weights lie in a GGUF file, for those who write one: which class a weight is of, which stay
// float32, what dimensions llama.cpp expects. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/spec.h"
#include "model/weights.h"
#include "tensor/dtype.h"

namespace deepshock {

// Classes of weight matrices that can have a type of their own. Norms, biases, sinks and routers stay
// float32.
enum class TensorClass { kEmbedding, kOutput, kAttention, kDense, kShared, kExperts, kMtp };
inline constexpr int kNumTensorClasses = 7;
std::string_view Name(TensorClass c);  // "embedding", "output", ...
Result<TensorClass> ParseTensorClass(std::string_view name);

TensorClass ClassOf(const WeightDecl& decl, const ModelSpec& spec);
bool StaysFloat32(const WeightDecl& decl);

// The type that rows of `cols` elements can have: `wanted` where they divide into its blocks, else q8_0, else
// f16.
DType FittingType(DType wanted, int64_t cols);

// Outermost first. Expert 0 stands for the whole stack [E, rows, cols].
std::vector<int64_t> GgufDims(const WeightDecl& decl, const ModelSpec& spec);

// general.file_type as llama.cpp numbers it, by the type that holds most bytes. For display only.
uint32_t GgufFileType(const std::map<std::string, int64_t>& bytes_by_type);

}  // namespace deepshock
