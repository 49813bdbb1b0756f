// SPDX-License-Identifier: Apache-2.0
#include "model/latent_weights.h"

#include <vector>

#include "tensor/codec.h"
#include "tensor/interleaved.h"

namespace deepshock {
namespace {

// out [cols, rows] = m [rows, cols] transposed, in float32.
void DecodeTransposed(const Matrix& m, float* out) {
  std::vector<float> row(static_cast<size_t>(m.cols));
  for (int64_t n = 0; n < m.rows; ++n) {
    DecodeRow(m, n, row.data());
    for (int64_t k = 0; k < m.cols; ++k) out[k * m.rows + n] = row[static_cast<size_t>(k)];
  }
}

Status EncodeRows(const float* values, int64_t rows, const Matrix& to, int64_t first_row, std::byte* data) {
  for (int64_t n = 0; n < rows; ++n) {
    const std::span row(values + n * to.cols, static_cast<size_t>(to.cols));
    DS_RETURN_IF_ERROR(EncodeRow(to.dtype, row, {}, data + (first_row + n) * to.row_stride));
  }
  return {};
}

struct Job {
  const LayerWeights* layer;
  Matrix* view;  // k_b or kv_b, to be derived
  int number;
  int64_t offset = 0;
};

// k_b of one head from kv_b, or that head's rows of kv_b from k_b and v_b.
Status DeriveHead(const AttentionSpec& a, const Job& job, int64_t head, std::byte* data) {
  const LayerWeights& w = *job.layer;
  const int64_t nope = a.nope_dim, v = a.v_head_dim, rank = a.kv_lora_rank;
  std::vector<float> transposed(static_cast<size_t>(nope * rank));
  if (job.view == &w.k_b) {
    DecodeTransposed(RowsOf(w.kv_b, head * (nope + v), nope), transposed.data());
    return EncodeRows(transposed.data(), rank, w.k_b, head * rank, data);
  }
  DecodeTransposed(RowsOf(w.k_b, head * rank, rank), transposed.data());
  DS_RETURN_IF_ERROR(EncodeRows(transposed.data(), nope, w.kv_b, head * (nope + v), data));
  std::vector<float> values(static_cast<size_t>(v * rank));
  for (int64_t n = 0; n < v; ++n) DecodeRow(w.v_b, head * v + n, values.data() + n * rank);
  return EncodeRows(values.data(), v, w.kv_b, head * (nope + v) + nope, data);
}

// The derived matrix's shape, or an absent one where nothing is to be derived.
Matrix DerivedShape(const AttentionSpec& a, const LayerWeights& w, bool* is_key) {
  Matrix m;
  m.dtype = DType::kQ8_0;
  const int64_t heads = a.num_heads, nope = a.nope_dim, v = a.v_head_dim, rank = a.kv_lora_rank;
  if (CanInterleave(w.kv_b) && !w.k_b) {
    *is_key = true;
    m.rows = heads * rank;
    m.cols = nope;
  } else if (CanInterleave(w.k_b) && CanInterleave(w.v_b) && !w.kv_b) {
    *is_key = false;
    m.rows = heads * (nope + v);
    m.cols = rank;
  } else {
    return {};
  }
  m.row_stride = RowBytes(m.dtype, m.cols);
  return m;
}

}  // namespace

bool HeadsAreGroups(const AttentionSpec& a) {
  return a.nope_dim % 32 == 0 && a.v_head_dim % 16 == 0 && a.kv_lora_rank % 32 == 0;
}

Result<std::shared_ptr<HugeMemory>> DeriveLatentWeights(const ModelSpec& spec, ThreadPool& pool,
                                                        ModelWeights* weights) {
  const AttentionSpec& a = spec.attention;
  if (a.kind != AttentionKind::kLatent || !HeadsAreGroups(a)) return std::shared_ptr<HugeMemory>();
  std::vector<LayerWeights*> layers;
  for (LayerWeights& layer : weights->layers) layers.push_back(&layer);
  for (MtpWeights& mtp : weights->mtp) layers.push_back(&mtp.layer);
  std::vector<Job> jobs;
  int64_t size = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    bool is_key = false;
    const Matrix shape = DerivedShape(a, *layers[l], &is_key);
    if (shape.rows == 0) continue;
    Matrix* view = is_key ? &layers[l]->k_b : &layers[l]->kv_b;
    *view = shape;
    jobs.push_back({layers[l], view, static_cast<int>(l), size});
    size += shape.rows * shape.row_stride;
  }
  DS_ASSIGN(const std::shared_ptr<HugeMemory> memory, HugeMemory::Allocate(static_cast<size_t>(size)));
  const int64_t count = static_cast<int64_t>(jobs.size()) * a.num_heads;
  std::vector<Status> results(static_cast<size_t>(count));
  pool.ParallelFor(count, 1, [&](int64_t i, int64_t, int) {
    const Job& job = jobs[static_cast<size_t>(i / a.num_heads)];
    results[static_cast<size_t>(i)] = DeriveHead(a, job, i % a.num_heads, memory->data() + job.offset);
  });
  for (int64_t i = 0; i < count; ++i) {
    const Status& result = results[static_cast<size_t>(i)];
    if (result.ok()) continue;
    return result.WithContext(fmt::format("blk.{}.attn_kv_b.weight, head {}",
                                          jobs[static_cast<size_t>(i / a.num_heads)].number,
                                          i % a.num_heads));
  }
  for (const Job& job : jobs) job.view->data = memory->data() + job.offset;
  return memory;
}

}  // namespace deepshock
