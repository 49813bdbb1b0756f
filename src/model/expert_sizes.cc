// SPDX-License-Identifier: Apache-2.0
#include "model/expert_sizes.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "base/thread_pool.h"
#include "formats/gguf.h"
#include "model/model.h"
#include "model/repacked.h"
#include "tensor/interleaved.h"

namespace deepshock {
namespace {

constexpr int64_t kBlock = 4096;  // pages, and what O_DIRECT reads

// A repacked file is in the kernels' layout already; what others hold stays as it is, and is only looked at.
Result<std::unique_ptr<Model>> LoadViews(const std::string& path, ThreadPool& pool) {
  LoadOptions options;
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    DS_ASSIGN(const auto file, GgufFile::Open(path));
    options.interleave = IsRepacked(*file);
    options.pool = &pool;
  }
  return Model::Load(path, options);
}

int64_t SlotBytes(const ExpertWeights& stored) {
  ExpertWeights w = stored;
  for (Matrix* m : {&w.gate, &w.up, &w.down}) {
    if (m->interleaved) continue;
    if (!CanInterleave(*m)) return 0;
    *m = InterleavedShape(*m);
  }
  return (LayOutExpert(w).bytes + kBlock - 1) / kBlock * kBlock;
}

// What is in memory all the time: all but routed experts, in whole pages, as placement.cc reads them. Files
// are mapped at pages, so addresses tell how matrices share these.
int64_t AlwaysBytes(const ModelSpec& spec, const ModelWeights& weights) {
  std::set<const Matrix*> streamed;
  const auto stream = [&](const LayerWeights& layer) {
    for (const ExpertWeights& w : layer.experts) streamed.insert({&w.gate, &w.up, &w.down});
  };
  for (const LayerWeights& layer : weights.layers) stream(layer);
  for (const MtpWeights& mtp : weights.mtp) stream(mtp.layer);
  std::vector<std::pair<uintptr_t, uintptr_t>> ranges;
  const Status status = VisitWeights(spec, weights, [&](const WeightDecl&, const Matrix& m) -> Status {
    if (!m || streamed.contains(&m)) return {};
    const auto begin = reinterpret_cast<uintptr_t>(m.data);
    const int64_t bytes =
        m.interleaved ? InterleavedBytes(m) : (m.rows - 1) * m.row_stride + RowBytes(m.dtype, m.cols);
    ranges.emplace_back(begin / kBlock * kBlock,
                        (begin + static_cast<uintptr_t>(bytes) + kBlock - 1) / kBlock * kBlock);
    return {};
  });
  DS_CHECK(status.ok(), "counting does not fail");
  std::sort(ranges.begin(), ranges.end());
  uintptr_t total = 0, end = 0;
  for (const auto& [first, last] : ranges) {
    if (last > end) total += last - std::max(first, end);
    end = std::max(end, last);
  }
  return static_cast<int64_t>(total);
}

}  // namespace

Result<ExpertSizes> ExpertSizesOf(const std::string& model_path, const std::string& kv_type) {
  DS_ASSIGN(const KvType type, KvTypeByName(kv_type.empty() ? "q16" : kv_type));
  ThreadPool pool(1);
  DS_ASSIGN(const auto model, LoadViews(model_path, pool));
  ExpertSizes sizes;
  sizes.num_experts = static_cast<int>(model->spec().router.num_experts);
  sizes.top_k = static_cast<int>(model->spec().router.top_k);
  sizes.always_bytes = AlwaysBytes(model->spec(), model->weights());
  sizes.state_token_bytes = model->state_spec(type).bytes_per_token();
  std::vector<const LayerWeights*> layers;
  for (const LayerWeights& layer : model->weights().layers) {
    if (!layer.experts.empty()) sizes.layers.push_back(static_cast<int32_t>(layers.size()));
    layers.push_back(&layer);
  }
  for (const MtpWeights& mtp : model->weights().mtp) layers.push_back(&mtp.layer);
  for (const LayerWeights* layer : layers) {
    for (const ExpertWeights& expert : layer->experts) {
      const int64_t bytes = SlotBytes(expert);
      if (bytes == 0) {
        return Fail(
            "{}: expected experts of a quantised type, found {}, which is not read from disk under a "
            "memory limit; convert it first",
            model_path, Name(expert.gate.dtype));
      }
      sizes.slot_bytes = std::max(sizes.slot_bytes, bytes);
    }
  }
  if (sizes.slot_bytes == 0) return Fail("{}: expected a model with experts, found a dense one", model_path);
  return sizes;
}

}  // namespace deepshock
