// SPDX-License-Identifier: Apache-2.0
#include "runtime/gguf_layout.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace deepshock {
namespace {

constexpr std::string_view kClassNames[kNumTensorClasses] = {"embedding", "output",  "attention", "dense",
                                                             "shared",    "experts", "mtp"};

}  // namespace

std::string_view Name(TensorClass c) { return kClassNames[static_cast<int>(c)]; }

Result<TensorClass> ParseTensorClass(std::string_view name) {
  const auto* found = std::find(std::begin(kClassNames), std::end(kClassNames), name);
  if (found != std::end(kClassNames)) return static_cast<TensorClass>(found - std::begin(kClassNames));
  return Fail("tensor class \"{}\": expected {}", name, fmt::join(kClassNames, ", "));
}

TensorClass ClassOf(const WeightDecl& decl, const ModelSpec& spec) {
  if (decl.layer >= spec.num_layers()) return decl.expert >= 0 ? TensorClass::kExperts : TensorClass::kMtp;
  if (decl.name == "token_embd.weight")
    return spec.tied_head ? TensorClass::kOutput : TensorClass::kEmbedding;
  if (decl.name == "output.weight") return TensorClass::kOutput;
  if (decl.name.starts_with("attn_")) return TensorClass::kAttention;
  if (decl.expert >= 0) return TensorClass::kExperts;
  return decl.name.find("_shexp") != std::string::npos ? TensorClass::kShared : TensorClass::kDense;
}

bool StaysFloat32(const WeightDecl& decl) {
  return decl.is_vector || decl.name == "ffn_gate_inp.weight" || decl.name.ends_with(".bias");
}

DType FittingType(DType wanted, int64_t cols) {
  if (cols % Info(wanted).block_elements == 0) return wanted;
  return cols % Info(DType::kQ8_0).block_elements == 0 ? DType::kQ8_0 : DType::kF16;
}

std::vector<int64_t> GgufDims(const WeightDecl& decl, const ModelSpec& spec) {
  const AttentionSpec& a = spec.attention;
  if (decl.name == "attn_k_b.weight") return {a.num_heads, a.kv_lora_rank, a.nope_dim};
  if (decl.name == "attn_v_b.weight") return {a.num_heads, a.v_head_dim, a.kv_lora_rank};
  std::vector<int64_t> dims;
  if (decl.expert >= 0) dims.push_back(spec.router.num_experts);
  if (!decl.is_vector) dims.push_back(decl.rows);
  dims.push_back(decl.cols);
  return dims;
}

uint32_t GgufFileType(const std::map<std::string, int64_t>& bytes_by_type) {
  const std::map<std::string_view, uint32_t> kNumbers = {{"f32", 0},   {"f16", 1},   {"q4_0", 2},
                                                         {"q8_0", 7},  {"q4_k", 15}, {"q6_k", 18},
                                                         {"bf16", 32}, {"mxfp4", 38}};
  const auto largest = std::max_element(bytes_by_type.begin(), bytes_by_type.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
  const auto found = largest == bytes_by_type.end() ? kNumbers.end() : kNumbers.find(largest->first);
  return found == kNumbers.end() ? 1024 : found->second;  // 1024: "guessed", a mixture
}

}  // namespace deepshock
