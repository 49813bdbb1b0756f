// SPDX-License-Identifier: Apache-2.0
#include "model/fingerprint.h"

#include <algorithm>
#include <array>

#include "tensor/codec.h"

namespace deepshock {
namespace {

constexpr int64_t kRows = 16;   // experts that are looked at, spread over all
constexpr int64_t kCols = 512;  // of each, from the first on; whole blocks of every type

// splitmix64 (Steele, Lea, Flood 2014): 64 signs for weight number i of the sample.
uint64_t Signs(uint64_t i) {
  uint64_t z = (i + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// The first values of one row. Routers stay in rows whatever the layout of the rest (model/interleave.cc).
std::vector<float> RowPrefix(Matrix m, int64_t row) {
  DS_CHECK(!m.interleaved, "routers stay in rows");
  m.cols = std::min(m.cols, kCols);
  std::vector<float> values(static_cast<size_t>(m.cols));
  DecodeRow(m, row, values.data());
  return values;
}

uint64_t RouterSigns(const Matrix& router) {
  std::array<double, 64> sums{};
  uint64_t i = 0;
  for (int64_t r = 0; r < std::min(router.rows, kRows); ++r) {
    const int64_t row = r * router.rows / std::min(router.rows, kRows);
    for (const float value : RowPrefix(router, row)) {
      const uint64_t signs = Signs(i++);
      for (size_t j = 0; j < sums.size(); ++j) sums[j] += (signs >> j & 1) != 0 ? value : -value;
    }
  }
  uint64_t out = 0;
  for (size_t j = 0; j < sums.size(); ++j) out |= static_cast<uint64_t>(sums[j] > 0) << j;
  return out;
}

}  // namespace

ModelFingerprint FingerprintOf(const ModelSpec& spec, const ModelWeights& weights) {
  ModelFingerprint fingerprint{
      spec.architecture, spec.hidden, spec.router.num_experts, spec.router.top_k, {}};
  for (int32_t l = 0; l < spec.num_layers(); ++l) {
    const auto at = static_cast<size_t>(l);
    if (spec.layers[at].is_moe) fingerprint.routers.push_back({l, RouterSigns(weights.layers[at].router)});
  }
  return fingerprint;
}

Result<GroupsFile> LoadGroups(const std::string& path, const ModelSpec& spec, const ModelWeights& weights) {
  DS_ASSIGN(GroupsFile file, GroupsFile::Load(path));
  DS_RETURN_IF_ERROR(file.CheckModel(FingerprintOf(spec, weights)).WithContext(path));
  return file;
}

}  // namespace deepshock
