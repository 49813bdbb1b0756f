// SPDX-License-Identifier: Apache-2.0
// WeightSource: where a model's weights are found when it is loaded. One for each kind of checkpoint; each
// knows the names and the layouts that kind uses and returns views in the layout that model/weights.h
// declares. Used by Model::Load only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "model/registry.h"
#include "model/weights.h"

namespace deepshock {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // Whether the weights of MTP layer `layer` (counted from L) are stored.
  virtual bool HasMtpLayer(int layer) const = 0;
  // A view of the declared weight, or an absent matrix when nothing is stored under any of its names. Fails
  // when what is stored has another shape or a type that is no weight.
  virtual Result<Matrix> Find(const WeightDecl& decl) = 0;
  // Stored tensors that no Find asked for and that the family does not let pass.
  virtual std::vector<std::string> Unused() const = 0;
  // What the returned views point into.
  virtual std::vector<std::shared_ptr<const void>> Storage() const = 0;
  // The mapped files among it.
  virtual const std::vector<std::shared_ptr<const MappedFile>>& Files() const = 0;
};

std::unique_ptr<WeightSource> MakeGgufSource(std::shared_ptr<const GgufFile> file,
                                             const Architecture& architecture, const ModelSpec& spec);
std::unique_ptr<WeightSource> MakeSafetensorsSource(std::shared_ptr<const SafetensorsFile> files,
                                                    const Architecture& architecture, const ModelSpec& spec);

// `tensor` as the [rows, cols] matrix that `decl` declares; any leading dimensions count as rows.
Result<Matrix> ViewTensor(const StoredTensor& tensor, const WeightDecl& decl);

// "[64, 2048]"
std::string FormatDims(const std::vector<int64_t>& dims);

}  // namespace deepshock
