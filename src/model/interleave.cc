// SPDX-License-Identifier: Apache-2.0
#include "model/interleave.h"

#include <algorithm>
#include <set>

#include "base/huge_memory.h"
#include "model/latent_weights.h"
#include "tensor/interleaved.h"

namespace deepshock {
namespace {

constexpr int64_t kAlignment = 64;           // a cache line
constexpr int64_t kTaskBytes = 1 << 20;      // a thread's share at a time
constexpr int64_t kWindowBytes = 256 << 20;  // read ahead, and let go afterwards, in such pieces

struct Job {
  Matrix* view;
  Matrix from;
  int64_t offset = 0;  // in the new memory
};

bool StaysInRows(const ModelSpec& spec, const WeightDecl& decl) {
  if (decl.is_vector || decl.name == "ffn_gate_inp.weight") return true;
  if (decl.name == "token_embd.weight") return !spec.tied_head;
  if (decl.name == "nextn.embed_tokens.weight") return true;
  const bool is_expansion =
      decl.name == "attn_kv_b.weight" || decl.name == "attn_k_b.weight" || decl.name == "attn_v_b.weight";
  return is_expansion && !HeadsAreGroups(spec.attention);
}

bool AllInterleave(const ExpertWeights& w) {
  return CanInterleave(w.gate) && CanInterleave(w.up) && CanInterleave(w.down);
}

// The experts, MLPs and latent expansions whose matrices cannot all change.
std::set<const Matrix*> MatricesOfMixedSets(const ModelWeights& weights) {
  std::set<const Matrix*> mixed;
  const auto add = [&](const ExpertWeights& w) {
    if (!AllInterleave(w)) mixed.insert({&w.gate, &w.up, &w.down});
  };
  const auto add_layer = [&](const LayerWeights& layer) {
    add(layer.dense);
    add(layer.shared);
    if (!CanInterleave(layer.kv_b) || !CanInterleave(layer.k_b)) {
      mixed.insert({&layer.kv_b, &layer.k_b, &layer.v_b});
    }
    for (const ExpertWeights& expert : layer.experts) add(expert);
  };
  for (const LayerWeights& layer : weights.layers) add_layer(layer);
  for (const MtpWeights& mtp : weights.mtp) add_layer(mtp.layer);
  return mixed;
}

// In the order of the files.
std::vector<Job> Jobs(const ModelSpec& spec, ModelWeights* weights) {
  std::vector<Job> jobs;
  for (Matrix* view : PlanInterleaving(spec, weights)) jobs.push_back({view, *view});
  std::sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return a.from.data < b.from.data; });
  return jobs;
}

// A run of one job's rows that one thread copies.
struct Piece {
  const Job* job;
  int64_t begin, end;
};

std::vector<Piece> Cut(const std::vector<Job>& jobs) {
  std::vector<Piece> pieces;
  for (const Job& job : jobs) {
    const int64_t rows =
        std::max<int64_t>(1, kTaskBytes / (kInterleavedRows * job.view->row_stride)) * kInterleavedRows;
    for (int64_t begin = 0; begin < job.from.rows; begin += rows) {
      pieces.push_back({&job, begin, std::min(begin + rows, job.from.rows)});
    }
  }
  return pieces;
}

std::span<const std::byte> StoredBytes(const Piece& piece) {
  const Matrix& m = piece.job->from;
  const int64_t bytes = (piece.end - piece.begin - 1) * m.row_stride + RowBytes(m.dtype, m.cols);
  return {m.Row(piece.begin), static_cast<size_t>(bytes)};
}

const MappedFile* FileOf(const WeightSource& source, const std::byte* data) {
  for (const auto& file : source.Files()) {
    if (data >= file->bytes().data() && data < file->bytes().data() + file->bytes().size()) return file.get();
  }
  return nullptr;  // rearranged when it was loaded
}

}  // namespace

std::vector<Matrix*> PlanInterleaving(const ModelSpec& spec, ModelWeights* weights) {
  const std::set<const Matrix*> mixed = MatricesOfMixedSets(*weights);
  std::vector<Matrix*> plan;
  const Status listed = VisitWeights(spec, *weights, [&](const WeightDecl& decl, Matrix& m) -> Status {
    if (!StaysInRows(spec, decl) && CanInterleave(m) && !mixed.contains(&m)) plan.push_back(&m);
    return {};
  });
  DS_CHECK(listed.ok(), "listing does not fail");
  return plan;
}

Status InterleaveWeights(const ModelSpec& spec, const WeightSource& source, ThreadPool& pool,
                         ModelWeights* weights) {
  DS_ASSIGN(const std::shared_ptr<HugeMemory> derived, DeriveLatentWeights(spec, pool, weights));
  std::vector<Job> jobs = Jobs(spec, weights);
  int64_t size = 0;
  for (Job& job : jobs) {
    *job.view = InterleavedShape(job.from);
    job.offset = size;
    size += (InterleavedBytes(*job.view) + kAlignment - 1) / kAlignment * kAlignment;
  }
  DS_ASSIGN(const std::shared_ptr<HugeMemory> memory, HugeMemory::Allocate(static_cast<size_t>(size)));
  const std::vector<Piece> pieces = Cut(jobs);
  const std::span<const Piece> all = pieces;
  for (size_t begin = 0; begin < pieces.size();) {
    size_t end = begin;
    for (int64_t bytes = 0; end < pieces.size() && bytes < kWindowBytes; ++end) {
      bytes += static_cast<int64_t>(StoredBytes(pieces[end]).size());
    }
    const std::span<const Piece> window = all.subspan(begin, end - begin);
    for (const Piece& piece : window) {
      const std::span<const std::byte> bytes = StoredBytes(piece);
      if (const MappedFile* file = FileOf(source, bytes.data())) file->WillRead(bytes);
    }
    pool.ParallelFor(static_cast<int64_t>(window.size()), 1, [&](int64_t i, int64_t, int) {
      const Piece& piece = window[static_cast<size_t>(i)];
      InterleaveRows(piece.job->from, piece.begin, piece.end,
                     memory->data() + piece.job->offset + piece.begin * piece.job->view->row_stride);
      const std::span<const std::byte> bytes = StoredBytes(piece);
      if (const MappedFile* file = FileOf(source, bytes.data())) file->WillNotRead(bytes);
    });
    begin = end;
  }
  for (const Job& job : jobs) job.view->data = memory->data() + job.offset;
  weights->storage.push_back(memory);
  return {};
}

}  // namespace deepshock
