// SPDX-License-Identifier: Apache-2.0
// Weights in Hugging Face folders, under the names the checkpoints were published with.
// FP8 (DeepSeek-V3): "X.weight" and float32 block scales "X.weight_scale_inv".
// gpt-oss stacks its experts with gate and up interleaved: MXFP4 as "gate_up_proj_blocks" [E, 2I, H/32, 16]
// and "gate_up_proj_scales" [E, 2I, H/32]; unquantised as "gate_up_proj" [E, H, 2I], inputs first, which is
// the one layout that has to be rearranged in memory.
#include <cstring>
#include <map>
#include <set>

#include "model/source.h"

namespace deepshock {
namespace {

class SafetensorsSource final : public WeightSource {
 public:
  SafetensorsSource(std::shared_ptr<const SafetensorsFile> files, const Architecture& architecture,
                    const ModelSpec& spec)
      : files_(std::move(files)), architecture_(architecture), spec_(spec) {}

  bool HasMtpLayer(int layer) const override {
    return files_->Find(architecture_.HfName("nextn.eh_proj.weight", layer, -1)) != nullptr;
  }

  Result<Matrix> Find(const WeightDecl& decl) override {
    if (decl.expert >= 0 && !StackedName("gate_up", decl.layer).empty()) return FindStackedExpert(decl);
    const StoredTensor* tensor = Use(architecture_.HfName(decl.name, decl.layer, decl.expert));
    if (tensor == nullptr) return Matrix();
    DS_ASSIGN(Matrix m, ViewTensor(*tensor, decl));
    if (m.dtype == DType::kF8E4M3) DS_RETURN_IF_ERROR(AttachBlockScales(*tensor, m));
    return m;
  }

  std::vector<std::string> Unused() const override {
    std::vector<std::string> unused;
    for (const StoredTensor& tensor : files_->tensors()) {
      if (!used_.contains(tensor.name) && !MayIgnoreHfTensor(spec_, tensor.name))
        unused.push_back(tensor.name);
    }
    return unused;
  }

  std::vector<std::shared_ptr<const void>> Storage() const override {
    std::vector<std::shared_ptr<const void>> storage = {files_};
    for (const auto& [name, bytes] : rearranged_) storage.push_back(bytes);
    return storage;
  }
  const std::vector<std::shared_ptr<const MappedFile>>& Files() const override { return files_->files(); }

 private:
  using Bytes = std::shared_ptr<std::vector<std::byte>>;

  const StoredTensor* Use(const std::string& name) {
    const StoredTensor* tensor = files_->Find(name);
    if (tensor != nullptr) used_.insert(name);
    return tensor;
  }

  Status AttachBlockScales(const StoredTensor& tensor, Matrix& m) {
    const StoredTensor* scales = Use(tensor.name + "_scale_inv");
    if (scales == nullptr)
      return Fail("tensor {}_scale_inv: expected the scales of an fp8 tensor, not in the file", tensor.name);
    const std::vector<int64_t> expected = {(m.rows + 127) / 128, (m.cols + 127) / 128};
    if (scales->dims != expected || scales->dtype != DType::kF32) {
      return Fail("tensor {}: expected f32 {}, found {} {}", scales->name, FormatDims(expected),
                  Name(scales->dtype), FormatDims(scales->dims));
    }
    m.scales = scales->data;
    m.scale_row_stride = expected[1] * static_cast<int64_t>(sizeof(float));
    return {};
  }

  // "model.layers.3.mlp.experts.gate_up_proj"; empty for a family that stores each expert by itself.
  std::string StackedName(std::string_view which, int layer) const {
    return architecture_.HfName(fmt::format("ffn_{}_exps", which), layer, -1);
  }

  Result<Matrix> FindStackedExpert(const WeightDecl& decl) {
    const bool is_gate = decl.name.starts_with("ffn_gate"), is_up = decl.name.starts_with("ffn_up");
    const bool fused = is_gate || is_up;
    const int64_t outputs = (decl.is_vector ? decl.cols : decl.rows) * (fused ? 2 : 1);
    const std::string base = StackedName(fused ? "gate_up" : "down", decl.layer);
    Matrix all;  // [outputs, inputs] of this expert
    if (decl.is_vector) {
      DS_ASSIGN(all, StackedBias(base + "_bias", decl, outputs));
    } else if (files_->Find(base + "_blocks") != nullptr) {
      DS_ASSIGN(all, StackedMxfp4(base, decl, outputs));
    } else {
      DS_ASSIGN(all, StackedFloat(base, decl, outputs));
    }
    if (!all || !fused) return all;
    if (!decl.is_vector) return EverySecondRow(all, is_up ? 1 : 0);
    return EverySecondColumn(all, decl, is_up ? 1 : 0);
  }

  Result<const StoredTensor*> UseShaped(const std::string& name, const std::vector<int64_t>& dims) {
    const StoredTensor* tensor = Use(name);
    if (tensor != nullptr && tensor->dims != dims) {
      return Fail("tensor {}: expected shape {}, found {}", name, FormatDims(dims), FormatDims(tensor->dims));
    }
    return tensor;
  }

  static Status RequireFloat(const StoredTensor& tensor) {
    const DTypeInfo& info = Info(tensor.dtype);
    if (info.is_weight && info.block_elements == 1 && tensor.dtype != DType::kF8E4M3) return {};
    return Fail("tensor {}: expected f32, f16 or bf16, found {}", tensor.name, info.name);
  }

  Result<Matrix> StackedBias(const std::string& name, const WeightDecl& decl, int64_t outputs) {
    DS_ASSIGN(const StoredTensor* tensor, UseShaped(name, {spec_.router.num_experts, outputs}));
    if (tensor == nullptr) return Matrix();
    DS_RETURN_IF_ERROR(RequireFloat(*tensor));
    Matrix m{tensor->dtype, 1, outputs, tensor->data, RowBytes(tensor->dtype, outputs)};
    m.data += decl.expert * m.row_stride;
    return m;
  }

  Result<Matrix> StackedMxfp4(const std::string& base, const WeightDecl& decl, int64_t outputs) {
    const int64_t num_experts = spec_.router.num_experts, groups = decl.cols / 32;
    if (decl.cols % 32 != 0)
      return Fail("tensor {}_blocks: expected inputs in groups of 32, found {}", base, decl.cols);
    DS_ASSIGN(const StoredTensor* blocks, UseShaped(base + "_blocks", {num_experts, outputs, groups, 16}));
    DS_ASSIGN(const StoredTensor* scales, UseShaped(base + "_scales", {num_experts, outputs, groups}));
    if (scales == nullptr)
      return Fail("tensor {}_scales: expected the scales of an MXFP4 tensor, not in the file", base);
    if (blocks->dtype != DType::kU8 || scales->dtype != DType::kU8) {
      return Fail("tensor {}: expected u8 blocks and scales, found {} and {}", base, Name(blocks->dtype),
                  Name(scales->dtype));
    }
    Matrix m{DType::kMxfp4Split, outputs, decl.cols, blocks->data, groups * 16};
    m.scales = scales->data;
    m.scale_row_stride = groups;
    m.data += decl.expert * outputs * m.row_stride;
    m.scales += decl.expert * outputs * m.scale_row_stride;
    return m;
  }

  // [E, inputs, outputs] turned once into [E, outputs, inputs].
  Result<Matrix> StackedFloat(const std::string& name, const WeightDecl& decl, int64_t outputs) {
    const int64_t num_experts = spec_.router.num_experts, inputs = decl.cols;
    DS_ASSIGN(const StoredTensor* tensor, UseShaped(name, {num_experts, inputs, outputs}));
    if (tensor == nullptr) return Matrix();
    DS_RETURN_IF_ERROR(RequireFloat(*tensor));
    const int64_t size = Info(tensor->dtype).block_bytes, expert_bytes = inputs * outputs * size;
    Bytes& turned = rearranged_[name];
    if (turned == nullptr) {
      turned = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(tensor->bytes));
      for (int64_t e = 0; e < num_experts; ++e) {
        for (int64_t i = 0; i < inputs; ++i) {
          for (int64_t o = 0; o < outputs; ++o) {
            std::memcpy(turned->data() + e * expert_bytes + (o * inputs + i) * size,
                        tensor->data + e * expert_bytes + (i * outputs + o) * size,
                        static_cast<size_t>(size));
          }
        }
      }
    }
    return Matrix{tensor->dtype, outputs, inputs, turned->data() + decl.expert * expert_bytes, inputs * size};
  }

  // Biases of gate (even) or up (odd) as a row of their own.
  Result<Matrix> EverySecondColumn(const Matrix& pair, const WeightDecl& decl, int64_t first) {
    const int64_t size = Info(pair.dtype).block_bytes;
    Bytes& picked = rearranged_[Describe(decl)];
    picked = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(decl.cols * size));
    for (int64_t i = 0; i < decl.cols; ++i) {
      std::memcpy(picked->data() + i * size, pair.data + (2 * i + first) * size, static_cast<size_t>(size));
    }
    return Matrix{pair.dtype, 1, decl.cols, picked->data(), decl.cols * size};
  }

  std::shared_ptr<const SafetensorsFile> files_;
  const Architecture& architecture_;
  const ModelSpec& spec_;
  std::set<std::string, std::less<>> used_;
  std::map<std::string, Bytes> rearranged_;
};

}  // namespace

std::unique_ptr<WeightSource> MakeSafetensorsSource(std::shared_ptr<const SafetensorsFile> files,
                                                    const Architecture& architecture, const ModelSpec& spec) {
  return std::make_unique<SafetensorsSource>(std::move(files), architecture, spec);
}

}  // namespace deepshock
