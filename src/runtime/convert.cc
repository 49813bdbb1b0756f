// SPDX-License-Identifier: Apache-2.0
#include "runtime/convert.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "model/registry.h"
#include "tensor/codec.h"

namespace deepshock {
namespace {

constexpr int64_t kBatchBytes = 8 << 20;  // encoded at once

// One tensor of the output file.
struct Planned {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> dims;     // outermost first
  std::vector<Matrix> parts;     // stacked along the rows
  int64_t rotate_heads = 0;      // > 0: rows go from halves to interleaved pairs within each of so many heads
  const Matrix* turn = nullptr;  // kv_b, whose key half is turned into k_b
};

// What GGUF has for a stored type that it lacks.
DType Storable(DType stored) {
  if (stored == DType::kF8E4M3) return DType::kBF16;
  return stored == DType::kMxfp4Split ? DType::kMxfp4 : stored;
}

class Planner {
 public:
  Planner(const Model& model, const Architecture& architecture, const TypePlan& types, ConvertReport* report)
      : model_(model), architecture_(architecture), types_(types), report_(report) {}

  Result<std::vector<Planned>> Run() {
    DS_RETURN_IF_ERROR(VisitWeights(model_.spec(), model_.weights(),
                                    [&](const WeightDecl& decl, const Matrix& m) { return Add(decl, m); }));
    const ModelSpec& spec = model_.spec();
    if (spec.tied_head &&
        architecture_.gguf.needs_output) {  // llama.cpp does not look for the embedding there
      const WeightDecl head{"output.weight", -1, -1, spec.vocab_size, spec.hidden, false, false};
      DS_RETURN_IF_ERROR(Add(head, model_.weights().embedding));
    }
    return std::move(planned_);
  }

 private:
  Status Add(const WeightDecl& decl, const Matrix& m) {
    if (!m) return {};
    if (decl.name == "attn_kv_b.weight") return AddLatentHalves(decl, m);
    const std::string name = architecture_.GgufName(decl.name, decl.layer);
    if (decl.expert > 0) {
      planned_[index_.at(name)].parts.push_back(m);
      return {};
    }
    Planned p;
    p.name = name;
    p.parts = {m};
    p.dims = GgufDims(decl, model_.spec());
    const AttentionSpec& a = model_.spec().attention;
    const bool interleave = architecture_.gguf.layout == RopeLayout::kInterleaved &&
                            model_.spec().rope.layout == RopeLayout::kHalfSplit;
    if (interleave && decl.name.starts_with("attn_q.")) p.rotate_heads = a.num_heads;
    if (interleave && decl.name.starts_with("attn_k.")) p.rotate_heads = a.num_kv_heads;
    return Finish(decl, m.dtype, std::move(p));
  }

  // llama.cpp stores MLA's expansion as k_b [heads, rank, nope] and v_b [heads, v, rank].
  Status AddLatentHalves(const WeightDecl& decl, const Matrix& m) {
    const AttentionSpec& a = model_.spec().attention;
    WeightDecl half = decl;
    half.name = "attn_k_b.weight";
    Planned k;
    k.name = architecture_.GgufName(half.name, decl.layer);
    k.dims = GgufDims(half, model_.spec());
    k.parts = {m};
    k.turn = &m;
    DS_RETURN_IF_ERROR(Finish(half, m.dtype, std::move(k)));
    half.name = "attn_v_b.weight";
    Planned v;
    v.name = architecture_.GgufName(half.name, decl.layer);
    v.dims = GgufDims(half, model_.spec());
    for (int64_t h = 0; h < a.num_heads; ++h) {
      v.parts.push_back(RowsOf(m, h * (a.nope_dim + a.v_head_dim) + a.nope_dim, a.v_head_dim));
    }
    return Finish(half, m.dtype, std::move(v));
  }

  Status Finish(const WeightDecl& decl, DType stored, Planned p) {
    const DType planned = types_.of(ClassOf(decl, model_.spec()));
    p.dtype = StaysFloat32(decl) ? DType::kF32 : planned == TypePlan::kKeep ? Storable(stored) : planned;
    const int64_t cols = p.dims.back();
    const DType wanted = p.dtype;
    p.dtype = FittingType(wanted, cols);
    const bool copies = p.dtype == stored && p.rotate_heads == 0 && p.turn == nullptr;
    if (!copies && !CanEncode(p.dtype)) {
      return Fail("tensor {}: stored as {}, which can be kept but not written anew", p.name, Name(p.dtype));
    }
    if (p.dtype != wanted) {
      report_->fallbacks.push_back(fmt::format("{}: {} inputs do not divide into blocks of {}, written as {}",
                                               p.name, cols, Name(wanted), Name(p.dtype)));
    }
    index_[p.name] = planned_.size();
    planned_.push_back(std::move(p));
    return {};
  }

  const Model& model_;
  const Architecture& architecture_;
  const TypePlan& types_;
  ConvertReport* report_;
  std::vector<Planned> planned_;
  std::map<std::string, size_t> index_;
};

int64_t NumRows(const Planned& p) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < p.dims.size(); ++i) rows *= p.dims[i];
  return rows;
}

// kv_b's key half [heads, nope, rank] as float32 [heads * rank, nope].
std::vector<float> TurnKeys(const AttentionSpec& a, const Matrix& kv_b) {
  const int64_t nope = a.nope_dim, rank = a.kv_lora_rank;
  std::vector<float> turned(static_cast<size_t>(a.num_heads * rank * nope)), row(static_cast<size_t>(rank));
  for (int64_t h = 0; h < a.num_heads; ++h) {
    for (int64_t n = 0; n < nope; ++n) {
      DecodeRow(kv_b, h * (nope + a.v_head_dim) + n, row.data());
      for (int64_t r = 0; r < rank; ++r) {
        turned[static_cast<size_t>((h * rank + r) * nope + n)] = row[static_cast<size_t>(r)];
      }
    }
  }
  return turned;
}

// The row of the source that row `r` of the output takes: pairs (i, i + d/2) of a head become (2i, 2i + 1).
int64_t SourceRow(int64_t r, int64_t head_dim) {
  const int64_t head = r / head_dim, at = r % head_dim;
  return head * head_dim + (at % 2 == 0 ? at / 2 : at / 2 + head_dim / 2);
}

class TensorWriter {
 public:
  TensorWriter(const ModelSpec& spec, ThreadPool& pool, GgufWriter& writer, const ConvertOptions& options,
               int64_t total)
      : spec_(spec), pool_(pool), writer_(writer), options_(options), total_(total) {}

  Status Write(const Planned& p) {
    std::vector<float> owned;
    Planned source = p;
    if (p.turn != nullptr) {
      owned = TurnKeys(spec_.attention, *p.turn);
      source.parts = {Matrix{DType::kF32, NumRows(p), p.dims.back(),
                             reinterpret_cast<const std::byte*>(owned.data()),
                             p.dims.back() * static_cast<int64_t>(sizeof(float))}};
    } else if (p.rotate_heads > 0 && p.dims.size() == 1) {
      owned = RotateBias(p);
      source.parts = {
          Matrix{DType::kF32, 1, p.dims.back(), reinterpret_cast<const std::byte*>(owned.data()), 0}};
      source.rotate_heads = 0;
    }
    const int64_t row_bytes = RowBytes(p.dtype, p.dims.back()), rows = NumRows(p);
    const int64_t batch = std::max<int64_t>(1, kBatchBytes / row_bytes);
    std::vector<std::byte> encoded(static_cast<size_t>(std::min(batch, rows) * row_bytes));
    for (int64_t first = 0; first < rows; first += batch) {
      const int64_t count = std::min(batch, rows - first);
      DS_RETURN_IF_ERROR(
          EncodeRows(source, first, count, row_bytes, encoded.data()).WithContext("tensor " + p.name));
      DS_RETURN_IF_ERROR(
          writer_.WriteTensorData(std::span(encoded).first(static_cast<size_t>(count * row_bytes))));
      done_ += count * row_bytes;
      if (options_.progress && !options_.progress(done_, total_))
        return Fail("interrupted; nothing was written");
    }
    return {};
  }

 private:
  static std::vector<float> RotateBias(const Planned& p) {
    const int64_t n = p.dims.back();
    std::vector<float> all(static_cast<size_t>(n)), out(static_cast<size_t>(n));
    DecodeRow(p.parts[0], 0, all.data());
    for (int64_t i = 0; i < n; ++i)
      out[static_cast<size_t>(i)] = all[static_cast<size_t>(SourceRow(i, n / p.rotate_heads))];
    return out;
  }

  Status EncodeRows(const Planned& p, int64_t first, int64_t count, int64_t row_bytes, std::byte* out) {
    const int64_t part_rows = p.parts[0].rows, cols = p.dims.back(),
                  head_dim = p.rotate_heads > 0 ? NumRows(p) / p.rotate_heads : 0;
    std::mutex mutex;
    Status failure;
    pool_.ParallelFor(count, 16, [&](int64_t begin, int64_t end, int) {
      std::vector<float> values(static_cast<size_t>(cols));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = head_dim > 0 ? SourceRow(first + i, head_dim) : first + i;
        const Matrix& part = p.parts[static_cast<size_t>(row / part_rows)];
        std::byte* to = out + i * row_bytes;
        if (part.dtype == p.dtype) {
          std::memcpy(to, part.Row(row % part_rows), static_cast<size_t>(row_bytes));
          continue;
        }
        DecodeRow(part, row % part_rows, values.data());
        Status status = EncodeRow(p.dtype, values, {}, to);
        if (status.ok()) continue;
        std::lock_guard lock(mutex);
        failure = status.WithContext(fmt::format("row {}", first + i));
      }
    });
    return failure;
  }

  const ModelSpec& spec_;
  ThreadPool& pool_;
  GgufWriter& writer_;
  const ConvertOptions& options_;
  int64_t total_;
  int64_t done_ = 0;
};

}  // namespace

Result<TypePlan> TypePlan::Parse(std::string_view text) {
  TypePlan plan;
  bool set[kNumTensorClasses] = {};
  bool has_rest = false;
  DType rest = kKeep;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
    const size_t equals = part.find('=');
    const std::string_view type_name = equals == std::string_view::npos ? part : part.substr(equals + 1);
    const std::optional<DType> type = type_name == "keep" ? std::optional(kKeep) : ParseDType(type_name);
    if (!type || (*type != kKeep && !CanEncode(*type))) {
      return Fail("type \"{}\": expected f32, f16, bf16, q8_0, q4_0, mxfp4, q4_k, q6_k or keep", type_name);
    }
    if (equals == std::string_view::npos) {
      if (has_rest) return Fail("type \"{}\": expected one type for the rest, found a second", type_name);
      has_rest = true;
      rest = *type;
      continue;
    }
    DS_ASSIGN(const TensorClass c, ParseTensorClass(part.substr(0, equals)));
    const auto at = static_cast<size_t>(c);
    plan.types[at] = *type;
    set[at] = true;
  }
  for (int i = 0; i < kNumTensorClasses; ++i) {
    if (!set[i]) plan.types[i] = rest;
  }
  return plan;
}

Result<ConvertReport> ConvertToGguf(const Model& model, ThreadPool& pool, const std::string& output,
                                    const ConvertOptions& options,
                                    const std::function<Status(GgufWriter&)>& set_tokenizer) {
  ModelSpec spec = model.spec();
  spec.num_mtp_layers = static_cast<int>(model.weights().mtp.size());  // what the file will hold
  const Architecture& architecture = *FindArchitecture(spec.architecture);
  ConvertReport report;
  DS_ASSIGN(std::vector<Planned> planned, Planner(model, architecture, options.types, &report).Run());
  const std::vector<float> divisors =
      architecture.gguf.rope_freqs ? RopeDivisors(spec.rope) : std::vector<float>();
  if (!divisors.empty()) {
    Planned p;
    p.name = "rope_freqs.weight";
    p.dims = {static_cast<int64_t>(divisors.size())};
    p.parts = {Matrix{DType::kF32, 1, p.dims[0], reinterpret_cast<const std::byte*>(divisors.data()), 0}};
    planned.push_back(std::move(p));
  }
  for (const Planned& p : planned) {
    const int64_t bytes = NumRows(p) * RowBytes(p.dtype, p.dims.back());
    report.bytes += bytes;
    report.bytes_by_type[std::string(Name(p.dtype))] += bytes;
  }
  DS_ASSIGN(GgufWriter writer, GgufWriter::Create(output));
  DS_RETURN_IF_ERROR(architecture.to_gguf(spec, &writer));
  const std::string& name = spec.name.empty() ? options.name : spec.name;
  if (!name.empty()) writer.SetString("general.name", name);
  writer.SetU32("general.file_type", GgufFileType(report.bytes_by_type));
  writer.SetU32("general.quantization_version", 2);
  DS_RETURN_IF_ERROR(set_tokenizer(writer));
  for (const Planned& p : planned) DS_RETURN_IF_ERROR(writer.DeclareTensor(p.name, p.dtype, p.dims));
  DS_RETURN_IF_ERROR(writer.Begin());
  TensorWriter tensors(spec, pool, writer, options, report.bytes);
  for (const Planned& p : planned) DS_RETURN_IF_ERROR(tensors.Write(p));
  DS_RETURN_IF_ERROR(writer.Finish());
  return report;
}

}  // namespace deepshock
