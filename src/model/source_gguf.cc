// SPDX-License-Identifier: Apache-2.0
// Weights in GGUF files as llama.cpp's converter writes them. Routed experts are stacked [E, rows, cols];
// newer files may fuse gate with up and q with k and v, the oldest ones store each expert by itself.
#include <set>

#include "model/source.h"

namespace deepshock {
namespace {

class GgufSource final : public WeightSource {
 public:
  GgufSource(std::shared_ptr<const GgufFile> file, const Architecture& architecture, const ModelSpec& spec)
      : file_(std::move(file)), architecture_(architecture), spec_(spec) {}

  bool HasMtpLayer(int layer) const override {
    return file_->FindTensor(fmt::format("blk.{}.nextn.eh_proj.weight", layer)) != nullptr;
  }

  Result<Matrix> Find(const WeightDecl& decl) override {
    const std::string name = architecture_.GgufName(decl.name, decl.layer);
    if (const StoredTensor* tensor = Use(name)) {
      return decl.expert < 0 ? ViewTensor(*tensor, decl)
                             : ExpertOf(*tensor, decl, spec_.router.num_experts, 0);
    }
    if (decl.expert >= 0) return FindOddExpert(decl);
    if (decl.name.starts_with("attn_q.") || decl.name.starts_with("attn_k.") ||
        decl.name.starts_with("attn_v.")) {
      return FindInFusedQkv(decl);
    }
    return Matrix();
  }

  std::vector<std::string> Unused() const override {
    std::vector<std::string> unused;
    for (const StoredTensor& tensor : file_->tensors()) {
      if (!used_.contains(tensor.name) && !MayIgnoreGgufTensor(spec_, tensor.name))
        unused.push_back(tensor.name);
    }
    return unused;
  }

  std::vector<std::shared_ptr<const void>> Storage() const override { return {file_}; }
  const std::vector<std::shared_ptr<const MappedFile>>& Files() const override { return file_->files(); }

 private:
  static std::string InLayer(int layer, std::string_view name) {
    return fmt::format("blk.{}.{}", layer, name);
  }

  const StoredTensor* Use(const std::string& name) {
    const StoredTensor* tensor = file_->FindTensor(name);
    if (tensor != nullptr) used_.insert(name);
    return tensor;
  }

  // Expert decl.expert of a stack of `stack_rows / decl.rows` slices each; its rows start at `first_row`.
  Result<Matrix> ExpertOf(const StoredTensor& tensor, const WeightDecl& decl, int64_t num_experts,
                          int64_t first_row, int64_t rows_per_expert = 0) {
    if (rows_per_expert == 0) rows_per_expert = decl.rows;
    WeightDecl stack = decl;
    stack.rows = num_experts * rows_per_expert;
    stack.is_vector = false;
    DS_ASSIGN(const Matrix all, ViewTensor(tensor, stack));
    return RowsOf(all, decl.expert * rows_per_expert + first_row, decl.rows);
  }

  // "ffn_gate_up_exps" holds gate's rows, then up's; "ffn_gate.7.weight" is one expert by itself.
  Result<Matrix> FindOddExpert(const WeightDecl& decl) {
    const bool is_gate = decl.name.starts_with("ffn_gate_exps."),
               is_up = decl.name.starts_with("ffn_up_exps.");
    const std::string kind = decl.name.substr(decl.name.rfind('.') + 1);
    if (is_gate || is_up) {
      if (const StoredTensor* fused = Use(InLayer(decl.layer, "ffn_gate_up_exps." + kind))) {
        if (decl.is_vector) {
          WeightDecl pairs = decl;  // [E, 2I]: each expert's row holds gate's biases, then up's
          pairs.rows = spec_.router.num_experts;
          pairs.cols = 2 * decl.cols;
          pairs.is_vector = false;
          DS_ASSIGN(const Matrix all, ViewTensor(*fused, pairs));
          if (Info(all.dtype).block_elements != 1) {
            return Fail("tensor {}: expected a float type, found {}", fused->name, Name(all.dtype));
          }
          Matrix half = RowsOf(all, decl.expert, 1);
          half.cols = decl.cols;
          if (is_up) half.data += RowBytes(all.dtype, decl.cols);
          return half;
        }
        return ExpertOf(*fused, decl, spec_.router.num_experts, is_up ? decl.rows : 0, 2 * decl.rows);
      }
    }
    std::string single = decl.name;  // ffn_gate_exps.weight -> ffn_gate.7.weight
    single.replace(single.find("_exps."), 6, fmt::format(".{}.", decl.expert));
    const StoredTensor* tensor = Use(InLayer(decl.layer, single));
    return tensor == nullptr ? Result<Matrix>(Matrix()) : ViewTensor(*tensor, decl);
  }

  Result<Matrix> FindInFusedQkv(const WeightDecl& decl) {
    const std::string kind = decl.name.substr(decl.name.rfind('.') + 1);
    const StoredTensor* fused = Use(InLayer(decl.layer, "attn_qkv." + kind));
    if (fused == nullptr) return Matrix();
    const AttentionSpec& a = spec_.attention;
    const int64_t q = int64_t{a.num_heads} * a.head_dim, k = int64_t{a.num_kv_heads} * a.head_dim,
                  v = int64_t{a.num_kv_heads} * a.v_head_dim;
    const int64_t begin = decl.name[5] == 'q' ? 0 : decl.name[5] == 'k' ? q : q + k;
    WeightDecl whole = decl;
    (decl.is_vector ? whole.cols : whole.rows) = q + k + v;
    DS_ASSIGN(const Matrix all, ViewTensor(*fused, whole));
    if (!decl.is_vector) return RowsOf(all, begin, decl.rows);
    if (Info(all.dtype).block_elements != 1) {
      return Fail("tensor {}: expected a float type, found {}", fused->name, Name(all.dtype));
    }
    Matrix part = all;
    part.cols = decl.cols;
    part.data += RowBytes(all.dtype, begin);
    return part;
  }

  std::shared_ptr<const GgufFile> file_;
  const Architecture& architecture_;
  const ModelSpec& spec_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace

std::unique_ptr<WeightSource> MakeGgufSource(std::shared_ptr<const GgufFile> file,
                                             const Architecture& architecture, const ModelSpec& spec) {
  return std::make_unique<GgufSource>(std::move(file), architecture, spec);
}

}  // namespace deepshock
