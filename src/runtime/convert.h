// SPDX-License-Identifier: Apache-2.0
// Writing a model as one GGUF file: weights re-encoded by class of tensor, metadata and tokenizer inside, in
// the form that llama.cpp reads (MLA split into k_b and v_b, Llama's q and k rows interleaved, experts
// stacked).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "formats/gguf.h"
#include "model/model.h"
#include "runtime/gguf_layout.h"

namespace deepshock {

// The type of each class: kKeep writes what is stored (FP8 and split MXFP4 become what GGUF has for them:
// BF16, MXFP4).
struct TypePlan {
  static constexpr DType kKeep = DType::kBool;  // never a weight type
  DType types[kNumTensorClasses];

  // "q8_0" (everything), "experts=mxfp4,q8_0" (experts, then the rest); "keep" is a type too.
  static Result<TypePlan> Parse(std::string_view text);
  DType of(TensorClass c) const { return types[static_cast<int>(c)]; }
};

struct ConvertOptions {
  TypePlan types;
  std::string name;  // general.name, unless the checkpoint has one
  std::function<bool(int64_t done_bytes, int64_t total_bytes)>
      progress;  // may be empty; false stops the work
};

struct ConvertReport {
  int64_t bytes = 0;
  std::map<std::string, int64_t> bytes_by_type;  // "mxfp4" -> bytes
  // One for each tensor that could not have its planned type: rows that do not divide into its blocks.
  std::vector<std::string> fallbacks;
};

// `set_tokenizer` adds the tokenizer.* keys. Writes beside `output` and renames.
Result<ConvertReport> ConvertToGguf(const Model& model, ThreadPool& pool, const std::string& output,
                                    const ConvertOptions& options,
                                    const std::function<Status(GgufWriter&)>& set_tokenizer);

}  // namespace deepshock
