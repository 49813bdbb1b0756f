// SPDX-License-Identifier: Apache-2.0
#include "model/repacked.h"

#include <map>
#include <set>

#include "tensor/interleaved.h"

namespace deepshock {
namespace {

class RepackedSource final : public WeightSource {
 public:
  RepackedSource(std::shared_ptr<const GgufFile> file, const Architecture& architecture,
                 const ModelSpec& spec)
      : file_(file),
        architecture_(architecture),
        spec_(spec),
        plain_(MakeGgufSource(file, architecture, spec)) {}

  Status ReadTypes() {
    DS_ASSIGN(const int64_t version, file_->GetInt(kRepackedVersionKey));
    if (version != kInterleavedVersion) {
      return Fail("{}: expected a repacked file of layout {}, found {}; repack the model again",
                  file_->path(), kInterleavedVersion, version);
    }
    DS_ASSIGN(const std::vector<std::string_view> entries, file_->GetStrings(kRepackedTypesKey));
    for (const std::string_view entry : entries) {
      const size_t equals = entry.rfind('=');
      const std::optional<DType> type =
          equals == std::string_view::npos ? std::nullopt : ParseDType(entry.substr(equals + 1));
      Matrix probe;  // whether the layout has the type at all
      probe.data = reinterpret_cast<const std::byte*>(this);
      probe.dtype = type.value_or(DType::kBool);
      if (!type || !CanInterleave(probe) || *type == DType::kMxfp4Split) {
        return Fail("{}: key {}: expected NAME=TYPE with a quantised type, found \"{}\"", file_->path(),
                    kRepackedTypesKey, entry);
      }
      types_.emplace(entry.substr(0, equals), *type);
    }
    return {};
  }

  bool HasMtpLayer(int layer) const override { return plain_->HasMtpLayer(layer); }

  Result<Matrix> Find(const WeightDecl& decl) override {
    const std::string name = architecture_.GgufName(decl.name, decl.layer);
    if (!types_.contains(name)) return plain_->Find(decl);
    DS_ASSIGN(Matrix m, ShapeOf(decl, name));
    if (decl.expert < 0) {
      DS_ASSIGN(m.data, RecordOf(name, InterleavedBytes(m)));
      return m;
    }
    ExpertWeights expert;
    DS_ASSIGN(expert.gate, PartOf(decl, "ffn_gate_exps.weight", spec_.expert.width, spec_.hidden));
    DS_ASSIGN(expert.up, PartOf(decl, "ffn_up_exps.weight", spec_.expert.width, spec_.hidden));
    DS_ASSIGN(expert.down, PartOf(decl, "ffn_down_exps.weight", spec_.hidden, spec_.expert.width));
    const ExpertRecord record = LayOutExpert(expert);
    DS_ASSIGN(const std::byte* data, RecordOf(ExpertRecordName(decl.layer, decl.expert), record.bytes));
    const bool is_gate = decl.name == "ffn_gate_exps.weight", is_up = decl.name == "ffn_up_exps.weight";
    m.data = data + (is_gate ? record.gate : is_up ? record.up : record.down);
    return m;
  }

  std::vector<std::string> Unused() const override {
    std::vector<std::string> unused;
    for (const std::string& name : plain_->Unused()) {
      if (!used_.contains(name)) unused.push_back(name);
    }
    return unused;
  }
  std::vector<std::shared_ptr<const void>> Storage() const override { return {file_}; }
  const std::vector<std::shared_ptr<const MappedFile>>& Files() const override { return file_->files(); }

 private:
  Result<Matrix> ShapeOf(const WeightDecl& decl, const std::string& name) const {
    Matrix m;
    m.dtype = types_.find(name)->second;
    m.rows = decl.rows;
    m.cols = decl.cols;
    if (decl.cols % Info(m.dtype).block_elements != 0) {
      return Fail("tensor {}: expected rows of whole blocks of {}, found {} columns", Describe(decl),
                  Info(m.dtype).block_elements, decl.cols);
    }
    return InterleavedShape(m);
  }

  // The shape of another matrix of the same expert.
  Result<Matrix> PartOf(const WeightDecl& decl, const char* part, int64_t rows, int64_t cols) const {
    WeightDecl other = decl;
    other.name = part;
    other.rows = rows;
    other.cols = cols;
    const std::string name = architecture_.GgufName(other.name, other.layer);
    if (!types_.contains(name)) {
      return Fail("{}: key {}: expected {} beside {}, not there", file_->path(), kRepackedTypesKey, name,
                  decl.name);
    }
    return ShapeOf(other, name);
  }

  Result<const std::byte*> RecordOf(const std::string& name, int64_t bytes) {
    const StoredTensor* tensor = file_->FindTensor(name);
    if (tensor == nullptr) return Fail("tensor {}: expected it in the repacked file, not there", name);
    if (tensor->dtype != DType::kI8 || tensor->bytes != bytes) {
      return Fail("tensor {}: expected {} bytes of i8, found {} of {}", name, bytes, tensor->bytes,
                  Name(tensor->dtype));
    }
    used_.insert(name);
    return tensor->data;
  }

  std::shared_ptr<const GgufFile> file_;
  const Architecture& architecture_;
  const ModelSpec& spec_;
  std::unique_ptr<WeightSource> plain_;  // for what is stored as usual
  std::map<std::string, DType, std::less<>> types_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace

std::string ExpertRecordName(int layer, int expert) { return fmt::format("blk.{}.expert.{}", layer, expert); }

ExpertRecord LayOutExpert(const ExpertWeights& w) {
  constexpr int64_t kLine = 64;
  const auto next = [](int64_t at, const Matrix& m) {
    return (at + InterleavedBytes(m) + kLine - 1) / kLine * kLine;
  };
  ExpertRecord record;
  record.up = next(0, w.gate);
  record.down = next(record.up, w.up);
  record.bytes = next(record.down, w.down);
  return record;
}

Result<std::unique_ptr<WeightSource>> MakeRepackedSource(std::shared_ptr<const GgufFile> file,
                                                         const Architecture& architecture,
                                                         const ModelSpec& spec) {
  auto source = std::make_unique<RepackedSource>(std::move(file), architecture, spec);
  DS_RETURN_IF_ERROR(source->ReadTypes());
  return std::unique_ptr<WeightSource>(std::move(source));
}

}  // namespace deepshock
