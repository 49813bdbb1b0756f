// SPDX-License-Identifier: Apache-2.0
#include "runtime/repack.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "formats/gguf.h"
#include "model/interleave.h"
#include "model/latent_weights.h"
#include "model/model.h"
#include "model/registry.h"
#include "model/repacked.h"
#include "runtime/gguf_layout.h"
#include "tensor/interleaved.h"

namespace deepshock {
namespace {

constexpr int64_t kPieceBytes = 4 << 20;

// One tensor to be written: matrices one after the other, or an expert's record.
struct Item {
  std::string name;
  DType dtype = DType::kI8;
  std::vector<int64_t> dims;
  bool interleaved = false;
  std::vector<Matrix> parts;     // as they are now
  std::vector<int64_t> offsets;  // of each part, where the item is a record
  int64_t bytes = 0;
};

class Planner {
 public:
  Planner(const ModelSpec& spec, const Architecture& architecture, ModelWeights* weights)
      : spec_(spec), architecture_(architecture) {
    for (const Matrix* view : PlanInterleaving(spec, weights)) interleaved_.insert(view);
  }

  Status Add(const WeightDecl& decl, const Matrix& m, const ModelWeights& weights) {
    if (!m) return {};
    const std::string name = architecture_.GgufName(decl.name, decl.layer);
    if (!interleaved_.contains(&m)) return AddAsStored(decl, name, m);
    const DType type = InterleavedShape(m).dtype;
    if (decl.expert <= 0) types_.push_back(fmt::format("{}={}", name, Name(type)));
    if (decl.expert == 0) stack_types_[name] = type;
    if (decl.expert > 0 && (!stack_types_.contains(name) || stack_types_[name] != type)) {
      return Fail("tensor {}: expected the type of expert 0, found {}", Describe(decl), Name(type));
    }
    if (decl.expert < 0) {
      const int64_t bytes = InterleavedBytes(InterleavedShape(m));
      items_.push_back({name, DType::kI8, {bytes}, true, {m}, {0}, bytes});
    } else if (decl.name == "ffn_gate_exps.weight") {
      AddRecord(decl, ExpertOf(decl, weights));
    }
    return {};
  }

  const std::vector<Item>& items() const { return items_; }
  const std::vector<std::string>& types() const { return types_; }

 private:
  const ExpertWeights& ExpertOf(const WeightDecl& decl, const ModelWeights& weights) const {
    const auto e = static_cast<size_t>(decl.expert);
    if (decl.layer < spec_.num_layers()) return weights.layers[static_cast<size_t>(decl.layer)].experts[e];
    return weights.mtp[static_cast<size_t>(decl.layer - spec_.num_layers())].layer.experts[e];
  }

  void AddRecord(const WeightDecl& decl, const ExpertWeights& w) {
    ExpertWeights shapes;
    shapes.gate = InterleavedShape(w.gate);
    shapes.up = InterleavedShape(w.up);
    shapes.down = InterleavedShape(w.down);
    const ExpertRecord record = LayOutExpert(shapes);
    items_.push_back({ExpertRecordName(decl.layer, decl.expert),
                      DType::kI8,
                      {record.bytes},
                      true,
                      {w.gate, w.up, w.down},
                      {record.gate, record.up, record.down},
                      record.bytes});
  }

  Status AddAsStored(const WeightDecl& decl, const std::string& name, const Matrix& m) {
    if (decl.expert > 0) {  // the stack that expert 0 began
      Item& stack = items_[stacks_[name]];
      stack.parts.push_back(m);
      stack.bytes += m.rows * RowBytes(m.dtype, m.cols);
      return {};
    }
    if (decl.expert == 0) stacks_[name] = items_.size();
    items_.push_back(
        {name, m.dtype, GgufDims(decl, spec_), false, {m}, {}, m.rows * RowBytes(m.dtype, m.cols)});
    return {};
  }

  const ModelSpec& spec_;
  const Architecture& architecture_;
  std::set<const Matrix*> interleaved_;
  std::vector<Item> items_;
  std::vector<std::string> types_;
  std::map<std::string, size_t> stacks_;      // items of experts as stored
  std::map<std::string, DType> stack_types_;  // of interleaved experts
};

// Appends items to the file in order.
class ItemWriter {
 public:
  ItemWriter(ThreadPool& pool, GgufWriter& writer, const RepackOptions& options, int64_t total)
      : pool_(pool), writer_(writer), options_(options), total_(total) {}

  Status Write(const Item& item) {
    int64_t at = 0;
    for (size_t i = 0; i < item.parts.size(); ++i) {
      if (item.interleaved) {
        DS_RETURN_IF_ERROR(Append(std::vector<std::byte>(static_cast<size_t>(item.offsets[i] - at))));
        DS_RETURN_IF_ERROR(WriteInterleaved(item.parts[i]));
        at = item.offsets[i] + InterleavedBytes(InterleavedShape(item.parts[i]));
      } else {
        DS_RETURN_IF_ERROR(WriteRows(item.parts[i]));
      }
    }
    if (!item.interleaved) return {};
    return Append(std::vector<std::byte>(static_cast<size_t>(item.bytes - at)));
  }

 private:
  Status Append(std::span<const std::byte> bytes) {
    DS_RETURN_IF_ERROR(writer_.WriteTensorData(bytes));
    done_ += static_cast<int64_t>(bytes.size());
    if (options_.progress && !options_.progress(done_, total_)) return Fail("interrupted");
    return {};
  }

  Status WriteInterleaved(const Matrix& m) {
    const int64_t group_bytes = kInterleavedRows * InterleavedShape(m).row_stride;
    const int64_t groups = (m.rows + kInterleavedRows - 1) / kInterleavedRows;
    const int64_t at_once = std::max<int64_t>(1, kPieceBytes / group_bytes);
    for (int64_t first = 0; first < groups; first += at_once) {
      const int64_t count = std::min(at_once, groups - first);
      buffer_.resize(static_cast<size_t>(count * group_bytes));
      pool_.ParallelFor(count, 1, [&](int64_t g, int64_t, int) {
        const int64_t row = (first + g) * kInterleavedRows;
        InterleaveRows(m, row, std::min(row + kInterleavedRows, m.rows), buffer_.data() + g * group_bytes);
      });
      DS_RETURN_IF_ERROR(Append(buffer_));
    }
    return {};
  }

  Status WriteRows(const Matrix& m) {
    const auto row_bytes = static_cast<size_t>(RowBytes(m.dtype, m.cols));
    for (int64_t row = 0; row < m.rows; ++row) DS_RETURN_IF_ERROR(Append({m.Row(row), row_bytes}));
    return {};
  }

  ThreadPool& pool_;
  GgufWriter& writer_;
  const RepackOptions& options_;
  int64_t total_, done_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace

Result<RepackReport> RepackGguf(const std::string& input, ThreadPool& pool, const std::string& output,
                                const RepackOptions& options) {
  DS_ASSIGN(const std::unique_ptr<GgufFile> file, GgufFile::Open(input));
  if (IsRepacked(*file)) return Fail("{}: expected a file that is not repacked yet", input);
  DS_ASSIGN(const std::unique_ptr<Model> model, Model::Load(input));
  const ModelSpec& spec = model->spec();
  ModelWeights weights = model->weights();  // views
  DS_ASSIGN(const std::shared_ptr<HugeMemory> derived, DeriveLatentWeights(spec, pool, &weights));
  Planner planner(spec, *FindArchitecture(spec.architecture), &weights);
  DS_RETURN_IF_ERROR(VisitWeights(spec, std::as_const(weights), [&](const WeightDecl& decl, const Matrix& m) {
    return planner.Add(decl, m, weights);
  }));

  DS_ASSIGN(GgufWriter writer, GgufWriter::Create(output));
  for (const auto& [key, value] : file->metadata()) writer.SetValue(key, value, *file->TypeOf(key));
  writer.SetAlignment(kRepackedAlignment);
  writer.SetU32(kRepackedVersionKey, kInterleavedVersion);
  writer.SetStrings(kRepackedTypesKey, planner.types());
  RepackReport report;
  const std::vector<Item>& items = planner.items();
  for (const Item& item : items) {
    DS_RETURN_IF_ERROR(writer.DeclareTensor(item.name, item.dtype, item.dims));
    report.bytes += item.bytes;
    if (item.interleaved) report.interleaved_bytes += item.bytes;
    if (item.parts.size() > 1 && item.interleaved) ++report.expert_records;
  }
  DS_RETURN_IF_ERROR(writer.Begin());
  ItemWriter to(pool, writer, options, report.bytes);
  for (const Item& item : items) DS_RETURN_IF_ERROR(to.Write(item));
  DS_RETURN_IF_ERROR(writer.Finish());
  return report;
}

}  // namespace deepshock
