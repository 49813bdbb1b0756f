// SPDX-License-Identifier: Apache-2.0
#include "runtime/synth.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "formats/gguf.h"
#include "model/registry.h"
#include "runtime/synth_vocabulary.h"

namespace deepshock {
namespace {

constexpr int64_t kBatchBytes = 16 << 20;   // drawn at once
constexpr int64_t kPieceBytes = 256 << 10;  // about: drawn by one thread; the unit of the random stream

bool IsWritable(DType dtype) {
  return Info(dtype).is_weight && dtype != DType::kF8E4M3 && dtype != DType::kMxfp4Split;
}

// llama.cpp's quantiser takes these where rows do not divide into super-blocks of 256.
DType Fallback(DType wanted, int64_t cols) {
  if (cols % Info(wanted).block_elements == 0) return wanted;
  DType next = wanted;
  if (wanted == DType::kQ2_K || wanted == DType::kQ3_K) next = DType::kQ4_0;
  if (wanted == DType::kQ4_K) next = DType::kQ5_0;
  if (wanted == DType::kQ5_K) next = DType::kQ5_1;
  return FittingType(next, cols);
}

// The layers whose value and down projections the "medium" mixtures keep at more bits: the first and the last
// eighth and every third between them.
bool KeepsMoreBits(int layer, int num_layers) {
  return layer < num_layers / 8 || layer >= 7 * num_layers / 8 || (layer - num_layers / 8) % 3 == 2;
}

bool IsValueOrDown(const WeightDecl& decl) {
  return decl.name.starts_with("attn_v") || decl.name.starts_with("ffn_down");
}

DType TypeOf(const WeightDecl& decl, const ModelSpec& spec, const SynthTypes& types) {
  if (StaysFloat32(decl)) return DType::kF32;
  const TensorClass c = ClassOf(decl, spec);
  if (const auto& chosen = types.classes[static_cast<int>(c)]) return *chosen;
  if (c == TensorClass::kOutput && types.better_head) return DType::kQ6_K;
  if (types.medium && IsValueOrDown(decl) && KeepsMoreBits(decl.layer, spec.num_layers()))
    return DType::kQ6_K;
  return types.rest;
}

// Norm weights are 1; a matrix keeps the size of what it multiplies; embeddings are of size 1.
void SetDistribution(const WeightDecl& decl, SynthTensor* tensor) {
  if (decl.name.find("norm") != std::string::npos && decl.is_vector) {
    tensor->mean = 1;
  } else if (decl.name == "token_embd.weight") {
    tensor->deviation = 1;
  } else if (decl.is_vector) {
    tensor->deviation = 0.02;
  } else {
    tensor->deviation = 0.9 / std::sqrt(static_cast<double>(decl.cols));
  }
}

// kv_b is stored as its halves k_b and v_b; an MTP layer shares the model's embedding and head.
bool IsLeftOut(const WeightDecl& decl) {
  return decl.name == "attn_kv_b.weight" || (decl.optional && decl.name.starts_with("nextn."));
}

uint64_t HashOf(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return hash;
}

int64_t NumElements(const SynthTensor& tensor) {
  int64_t n = 1;
  for (const int64_t dim : tensor.dims) n *= dim;
  return n;
}

class SynthWriter {
 public:
  SynthWriter(const SynthOptions& options, ThreadPool& pool, GgufWriter& writer, int64_t total)
      : options_(options), pool_(pool), writer_(writer), total_(total), buffer_(kBatchBytes) {}

  Status Write(const SynthTensor& tensor) {
    const BlockSource source(tensor.dtype, tensor.mean, tensor.deviation);
    const uint64_t seed = options_.seed ^ HashOf(tensor.name);
    const int64_t block = Info(tensor.dtype).block_bytes, piece = kPieceBytes / block * block,
                  batch = kBatchBytes / piece * piece, bytes = RowBytes(tensor.dtype, NumElements(tensor));
    for (int64_t begin = 0; begin < bytes; begin += batch) {
      const int64_t size = std::min(batch, bytes - begin);
      pool_.ParallelFor((size + piece - 1) / piece, 1, [&](int64_t first, int64_t last, int) {
        for (int64_t i = first; i < last; ++i) {
          const int64_t at = i * piece;
          source.Fill(seed, static_cast<uint64_t>((begin + at) / piece),
                      std::span(buffer_).subspan(static_cast<size_t>(at),
                                                 static_cast<size_t>(std::min(piece, size - at))));
        }
      });
      DS_RETURN_IF_ERROR(writer_.WriteTensorData(std::span(buffer_).first(static_cast<size_t>(size))));
      done_ += size;
      if (options_.progress && !options_.progress(done_, total_))
        return Fail("interrupted; nothing was written");
    }
    return {};
  }

 private:
  const SynthOptions& options_;
  ThreadPool& pool_;
  GgufWriter& writer_;
  int64_t total_;
  int64_t done_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace

Result<ModelSpec> SynthSpec(std::string_view shape, int num_layers) {
  const std::span<const SynthShape> shapes = SynthShapes();
  const auto found = std::ranges::find(shapes, shape, &SynthShape::name);
  if (found == shapes.end()) {
    std::vector<std::string_view> names;
    for (const SynthShape& s : shapes) names.push_back(s.name);
    return Fail("shape \"{}\": expected one of {}", shape, fmt::join(names, ", "));
  }
  DS_ASSIGN(ModelSpec spec, SpecFromConfig(found->config, std::string(found->name)));
  if (num_layers == 0) return spec;
  const auto first_moe = std::ranges::find_if(spec.layers, &LayerSpec::is_moe) - spec.layers.begin();
  if (num_layers <= first_moe || num_layers > spec.num_layers()) {
    return Fail("layers: expected {} to {} for {}, found {}", first_moe + 1, spec.num_layers(), shape,
                num_layers);
  }
  spec.layers.resize(static_cast<size_t>(num_layers));
  return spec;
}

Result<SynthTypes> SynthTypes::Parse(std::string_view text) {
  SynthTypes types;
  bool has_rest = false;
  const std::string_view whole = text;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
    const size_t equals = part.find('=');
    const std::string_view name = equals == std::string_view::npos ? part : part.substr(equals + 1);
    const bool medium = name == "q4_k_m" || name == "q5_k_m";
    const std::optional<DType> type = ParseDType(medium ? name.substr(0, 4) : name);
    if (!type || !IsWritable(*type)) {
      return Fail(
          "type \"{}\": expected f32, f16, bf16, mxfp4, q2_k, q3_k, q4_0, q4_1, q4_k, q4_k_m, q5_0, q5_1, "
          "q5_k, q5_k_m, q6_k or q8_0",
          name);
    }
    if (equals != std::string_view::npos) {
      DS_ASSIGN(const TensorClass c, ParseTensorClass(part.substr(0, equals)));
      if (medium) return Fail("type \"{}\": expected one type for a class, found a mixture", part);
      types.classes[static_cast<int>(c)] = *type;
      continue;
    }
    if (has_rest) return Fail("type \"{}\": expected one type for the rest, found a second", name);
    has_rest = true;
    types.rest = *type;
    types.medium = medium;
    types.better_head = Info(*type).block_elements > 1 && *type != DType::kQ8_0 && *type != DType::kQ6_K;
  }
  if (!has_rest) return Fail("type \"{}\": expected a type for the rest", whole);
  return types;
}

std::vector<SynthTensor> PlanSynth(const ModelSpec& spec, const SynthTypes& types) {
  const Architecture& architecture = *FindArchitecture(spec.architecture);
  std::vector<SynthTensor> tensors;
  const auto add = [&](const WeightDecl& decl) {
    SynthTensor tensor;
    tensor.name = architecture.GgufName(decl.name, decl.layer);
    tensor.dims = GgufDims(decl, spec);
    tensor.dtype = Fallback(TypeOf(decl, spec, types), tensor.dims.back());
    SetDistribution(decl, &tensor);
    tensors.push_back(std::move(tensor));
  };
  const ModelWeights weights = EmptyWeights(spec, spec.num_mtp_layers);
  const Status status = VisitWeights(spec, weights, [&](const WeightDecl& decl, const Matrix&) -> Status {
    if (decl.expert <= 0 && !IsLeftOut(decl)) add(decl);
    return {};
  });
  DS_CHECK(status.ok(), "planning does not fail");
  if (spec.tied_head && architecture.gguf.needs_output) {
    add({"output.weight", -1, -1, spec.vocab_size, spec.hidden, false, false});
  }
  return tensors;
}

Result<SynthReport> WriteSynth(const ModelSpec& spec, const SynthTypes& types, const SynthOptions& options,
                               ThreadPool& pool, const std::string& output) {
  const Architecture& architecture = *FindArchitecture(spec.architecture);
  if (!RopeDivisors(spec.rope).empty()) {
    return Fail("shape {}: expected no frequency divisors, found some", spec.architecture);
  }
  const std::vector<SynthTensor> tensors = PlanSynth(spec, types);
  SynthReport report;
  for (const SynthTensor& tensor : tensors) {
    const int64_t elements = NumElements(tensor), bytes = RowBytes(tensor.dtype, elements);
    report.parameters += elements;
    report.bytes += bytes;
    report.bytes_by_type[std::string(Name(tensor.dtype))] += bytes;
  }
  DS_ASSIGN(GgufWriter writer, GgufWriter::Create(output));
  DS_RETURN_IF_ERROR(architecture.to_gguf(spec, &writer));
  writer.SetString("general.name", options.name);
  writer.SetU32("general.file_type", GgufFileType(report.bytes_by_type));
  writer.SetU32("general.quantization_version", 2);
  DS_RETURN_IF_ERROR(SetSynthVocabulary(spec, writer));
  for (const SynthTensor& t : tensors) DS_RETURN_IF_ERROR(writer.DeclareTensor(t.name, t.dtype, t.dims));
  DS_RETURN_IF_ERROR(writer.Begin());
  SynthWriter out(options, pool, writer, report.bytes);
  for (const SynthTensor& tensor : tensors) DS_RETURN_IF_ERROR(out.Write(tensor));
  DS_RETURN_IF_ERROR(writer.Finish());
  return report;
}

}  // namespace deepshock
