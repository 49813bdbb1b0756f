// SPDX-License-Identifier: Apache-2.0
#include "model/source.h"

#include <fmt/ranges.h>

namespace deepshock {

std::string FormatDims(const std::vector<int64_t>& dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

Result<Matrix> ViewTensor(const StoredTensor& tensor, const WeightDecl& decl) {
  if (!Info(tensor.dtype).is_weight) {
    return Fail("tensor {}: expected a weight type, found {}", tensor.name, Name(tensor.dtype));
  }
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < tensor.dims.size(); ++i) rows *= tensor.dims[i];
  const int64_t cols = tensor.dims.empty() ? 1 : tensor.dims.back();
  if (rows != decl.rows || cols != decl.cols) {
    const std::vector<int64_t> expected =
        decl.is_vector ? std::vector<int64_t>{decl.cols} : std::vector<int64_t>{decl.rows, decl.cols};
    return Fail("tensor {}: expected shape {}, found {}", tensor.name, FormatDims(expected),
                FormatDims(tensor.dims));
  }
  Matrix m;
  m.dtype = tensor.dtype;
  m.rows = rows;
  m.cols = cols;
  m.data = tensor.data;
  m.row_stride = RowBytes(tensor.dtype, cols);
  return m;
}

}  // namespace deepshock
