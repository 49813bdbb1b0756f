// SPDX-License-Identifier: Apache-2.0
// What the families' from_gguf and to_gguf functions share. Key names and their meaning are llama.cpp's
// (gguf-py/gguf/constants.py, src/models/*.cpp). What those keys cannot say goes into `deepshock.*` keys,
// written only where the model differs from what the plain keys would be read as.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "formats/gguf.h"
#include "model/registry.h"

namespace deepshock {

// The decimal number with the fewest digits that rounds to `value`: GGUF stores 0.000001 as a float32, and
// this gets back the double that config.json wrote.
double ShortestDecimal(float value);

// The keys of one architecture: "deepseek2" + ".attention.head_count".
class GgufKeys {
 public:
  GgufKeys(const GgufFile& file, std::string_view arch) : file_(file), arch_(arch) {}

  bool Has(std::string_view suffix) const { return file_.Has(Key(suffix)); }
  // An integer, or an array (one number a layer) whose numbers are all the same.
  Result<int64_t> Int(std::string_view suffix, int64_t min, int64_t max) const;
  Result<int64_t> IntOr(std::string_view suffix, int64_t fallback, int64_t min, int64_t max) const;
  Result<int> Size(std::string_view suffix) const;
  Result<double> FloatOr(std::string_view suffix, double fallback, double min, double max) const;
  Result<bool> BoolOr(std::string_view suffix, bool fallback) const;

  std::string Key(std::string_view suffix) const { return std::string(arch_) + "." + std::string(suffix); }
  const GgufFile& file() const { return file_; }
  Status Expected(std::string_view suffix, std::string_view expected, std::string_view found) const;

 private:
  const GgufFile& file_;
  std::string_view arch_;
};

// Everything that all families have: sizes, layers, MTP layers, norm epsilon, head, special tokens, name.
Status ReadGgufModel(const GgufKeys& keys, std::string_view architecture, ModelSpec* spec);
// Heads and, from which tensors are present, biases.
Status ReadGgufGroupedAttention(const GgufKeys& keys, ModelSpec* spec);
// Rope with `head_dims` rotating where no key tells, and the softmax scale that comes with YaRN. Call it
// after the attention was read.
Status ReadGgufRope(const GgufKeys& keys, const GgufTraits& traits, int head_dims, ModelSpec* spec);
Status ReadGgufWindow(const GgufKeys& keys, const GgufTraits& traits, ModelSpec* spec);
// Router and experts; `spec->router.score` says which scores the family has.
Status ReadGgufExperts(const GgufKeys& keys, const GgufTraits& traits, ModelSpec* spec);
// Which layers are dense or MoE, and the dense width.
Status ReadGgufLayers(const GgufKeys& keys, const GgufTraits& traits, ModelSpec* spec);
// expert_gating_func must be absent or one of two values.
Status CheckGating(const GgufKeys& keys, int64_t expected, int64_t also);

// llama.cpp's llama_expert_gating_func_type.
constexpr int64_t kGatingSoftmax = 1;
constexpr int64_t kGatingSigmoid = 2;
constexpr int64_t kGatingSoftmaxOfChosen = 3;

// The whole of to_gguf for a family with grouped-query attention and the given traits.
Status WriteGrouped(const GgufTraits& traits, const ModelSpec& spec, GgufWriter* writer);
// The same for multi-head latent attention, in llama.cpp's MLA form: attn_k_b and attn_v_b are to be stored.
Status WriteLatent(const GgufTraits& traits, const ModelSpec& spec, GgufWriter* writer);
void WriteU32(const GgufTraits& traits, std::string_view suffix, int64_t value, GgufWriter* writer);

}  // namespace deepshock
