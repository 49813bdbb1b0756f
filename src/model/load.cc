// SPDX-License-Identifier: Apache-2.0
// Model::Load: spec from the configuration, weights from the files, everything checked before anything runs.
#include <sys/stat.h>

#include "base/mapped_file.h"
#include "model/interleave.h"
#include "model/model.h"
#include "model/placement.h"
#include "model/registry.h"
#include "model/repacked.h"
#include "model/source.h"

namespace deepshock {
namespace {

constexpr size_t kMaxConfigBytes = 16 << 20;

bool IsFolder(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

// MLA's expansion is stored whole (kv_b) or as two halves (k_b, v_b).
Status CheckLatent(const ModelSpec& spec, const LayerWeights& w, int layer) {
  if (spec.attention.kind != AttentionKind::kLatent) return {};
  const bool whole = static_cast<bool>(w.kv_b), halves = w.k_b && w.v_b;
  if (whole || halves) return {};
  return Fail(
      "tensor blk.{}.attn_kv_b.weight: expected it, or attn_k_b.weight and attn_v_b.weight, not in the file",
      layer);
}

Result<ModelWeights> FindWeights(const ModelSpec& spec, WeightSource& source) {
  int num_mtp = 0;
  while (num_mtp < spec.num_mtp_layers && source.HasMtpLayer(spec.num_layers() + num_mtp)) ++num_mtp;
  ModelWeights weights = EmptyWeights(spec, num_mtp);
  DS_RETURN_IF_ERROR(VisitWeights(spec, weights, [&](const WeightDecl& decl, Matrix& m) -> Status {
    DS_ASSIGN(m, source.Find(decl));
    if (m || decl.optional) return {};
    return Fail("tensor {}: expected {} x {}, not in the file", Describe(decl), decl.rows, decl.cols);
  }));
  for (int l = 0; l < spec.num_layers(); ++l) {
    DS_RETURN_IF_ERROR(CheckLatent(spec, weights.layers[static_cast<size_t>(l)], l));
  }
  for (size_t i = 0; i < weights.mtp.size(); ++i) {
    DS_RETURN_IF_ERROR(CheckLatent(spec, weights.mtp[i].layer, spec.num_layers() + static_cast<int>(i)));
  }
  const std::vector<std::string> unused = source.Unused();
  if (!unused.empty()) {
    return Fail("tensor {}: expected only tensors of {}, found this and {} more that it does not have",
                unused[0], spec.architecture, unused.size() - 1);
  }
  weights.storage = source.Storage();
  return weights;
}

}  // namespace

Result<std::unique_ptr<Model>> Model::Load(const std::string& path, const LoadOptions& options) {
  std::unique_ptr<Model> model(new Model);
  std::unique_ptr<WeightSource> source;
  bool is_repacked = false;
  if (IsFolder(path)) {
    const std::string config = path + "/config.json";
    DS_ASSIGN(const std::string text, ReadFile(config, kMaxConfigBytes));
    DS_ASSIGN(model->spec_, SpecFromConfig(text, config));
    DS_ASSIGN(std::shared_ptr<const SafetensorsFile> files, SafetensorsFile::OpenFolder(path));
    source =
        MakeSafetensorsSource(std::move(files), *FindArchitecture(model->spec_.architecture), model->spec_);
  } else {
    DS_ASSIGN(std::shared_ptr<const GgufFile> file, GgufFile::Open(path));
    DS_ASSIGN(model->spec_, SpecFromGguf(*file));
    const Architecture& architecture = *FindArchitecture(model->spec_.architecture);
    is_repacked = IsRepacked(*file);
    if (is_repacked) {
      if (!options.interleave) {
        return Fail(
            "{}: a repacked file is multiplied by activations in 8 bits only; for float32 use the file "
            "that it was made from",
            path);
      }
      DS_ASSIGN(source, MakeRepackedSource(std::move(file), architecture, model->spec_));
    } else {
      source = MakeGgufSource(std::move(file), architecture, model->spec_);
    }
  }
  DS_ASSIGN(model->weights_, FindWeights(model->spec_, *source).WithContext(path));
  DS_RETURN_IF_ERROR(model->LoadWeights(path, *source, is_repacked, options).WithContext(path));
  return model;
}

Status Model::LoadWeights(const std::string& path, const WeightSource& source, bool is_repacked,
                          const LoadOptions& options) {
  const bool limited = options.memory.bytes > 0;
  if (limited && !is_repacked) {  // before memory is taken
    DS_ASSIGN(memory_, PlaceWhole(path, spec_, options.memory, weights_));
  }
  if (options.interleave) {
    DS_CHECK(options.pool != nullptr, "interleaving needs threads");
    DS_RETURN_IF_ERROR(InterleaveWeights(spec_, source, *options.pool, &weights_));
  }
  if (limited && is_repacked) {
    DS_ASSIGN(memory_, PlaceRepacked(spec_, source, options.memory, &weights_));
  }
  if (spec_.tied_head) weights_.head = weights_.embedding;
  return {};
}

}  // namespace deepshock
