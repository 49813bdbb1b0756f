// SPDX-License-Identifier: Apache-2.0
// The architecture registry: one row a model family, each written in one file of model/arch/. A row turns
// config.json or GGUF metadata into a ModelSpec, a ModelSpec into GGUF metadata, and names tensors. Pure:
// reads text and metadata, allocates nothing that an input's numbers could make large; every number is
// checked before it is stored. Any thread. Refuses families, options and quantisations that it does not know,
// by name, rather than loading them half.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/gguf.h"
#include "model/spec.h"

namespace deepshock {

class Config;  // model/arch/config.h

// Canonical name -> name in a checkpoint. `{l}` stands for the layer, `{e}` for the expert.
struct TensorName {
  std::string_view canonical;
  std::string_view name;
};
using TensorNames = std::span<const TensorName>;

// What a GGUF reader assumes of a family where no key tells. Writer and reader share these, so that the
// writer knows which `deepshock.*` keys a model needs.
struct GgufTraits {
  std::string_view arch;  // general.architecture: "deepseek2"
  RopeLayout layout = RopeLayout::kHalfSplit;
  bool leading_dense = false;       // has {arch}.leading_dense_block_count
  bool alternating_window = false;  // layers 0, 2, 4, ... slide where no pattern is stored; else all of them
  bool yarn_truncate = true;
  bool normalise = false;                // expert_weights_norm where the key is absent
  bool experts_use_dense_width = false;  // feed_forward_length is a routed expert's width
  bool rope_freqs = false;               // Llama 3 scaling is stored as the tensor rope_freqs.weight
  bool needs_output = false;             // llama.cpp wants output.weight even where the head is tied
};

struct Architecture {
  std::string_view name;                      // "deepseek_v3"
  std::vector<std::string_view> model_types;  // "model_type" in config.json
  GgufTraits gguf;
  Result<ModelSpec> (*from_config)(const Config& config);
  Result<ModelSpec> (*from_gguf)(const GgufFile& file);
  // Sets general.architecture, every {arch}.* key, and deepshock.* keys for what those cannot say; no
  // tokenizer.* and no general.name.
  Status (*to_gguf)(const ModelSpec& spec, GgufWriter* writer);
  std::vector<TensorNames> names;  // Hugging Face names; later tables do not repeat earlier ones
  TensorNames gguf_names;          // where the GGUF name is not the canonical one

  // "" for a tensor that this family's Hugging Face checkpoints do not have.
  std::string HfName(std::string_view canonical, int layer = -1, int expert = -1) const;
  // With its "blk.N." where layer >= 0. Routed experts are stacked: "blk.3.ffn_gate_exps.weight".
  std::string GgufName(std::string_view canonical, int layer = -1) const;
};

const std::vector<Architecture>& Architectures();
const Architecture* FindArchitecture(std::string_view name);       // by ModelSpec::architecture; null if none
const Architecture* FindByModelType(std::string_view model_type);  // null if none
// "deepseek2" serves V2 and V3, "llama" serves Llama and Mixtral: further keys decide.
Result<const Architecture*> FindByGguf(const GgufFile& file);

// `file_name` is what messages call the text.
Result<ModelSpec> SpecFromConfig(std::string_view config_json, const std::string& file_name);
Result<ModelSpec> SpecFromGguf(const GgufFile& file);

// Whether a Hugging Face tensor is known to carry nothing that the model needs: rotary buffers, a tied head's
// copy.
bool MayIgnoreHfTensor(const ModelSpec& spec, std::string_view name);
// The same for GGUF: tensors that were read as part of the spec (rope_freqs.weight).
bool MayIgnoreGgufTensor(const ModelSpec& spec, std::string_view name);

// Fails unless every size is within bounds and they fit together, so that whoever multiplies two of a spec's
// numbers in int64_t cannot overflow.
Status ValidateSpec(const ModelSpec& spec);

// [dims/2]: what each frequency is divided by: the spec's own divisors, or those that Llama 3 scaling amounts
// to. Empty for the other scalings. To be stored as rope_freqs.weight.
std::vector<float> RopeDivisors(const RopeSpec& rope);

}  // namespace deepshock
