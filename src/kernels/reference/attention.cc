// SPDX-License-Identifier: Apache-2.0
// Plain scalar attention: the oracle. Stored keys and values are decoded one token at a time; everything is
// float32, queries and weights are not rounded.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace deepshock {
namespace {

// Sections padded with zeros, as LoadKey returns keys.
void PackQuery(const KvLayout& layout, const float* query, float scale, std::byte* packed) {
  auto* out = reinterpret_cast<float*>(packed);
  std::fill_n(out, layout.key_pad(), 0.0f);
  for (int64_t k = 0; k < layout.key_dim; ++k) {
    const int64_t to = k < layout.first_section() ? k : layout.first_pad() + k - layout.first_section();
    out[to] = query[k] * scale;
  }
}

// Tokens [begin, end) of one block against query `q`.
void AttendBlock(const AttentionSpan& span, int64_t q, int64_t begin, int64_t end,
                 const AttentionResult& result, float* decoded) {
  const KvLayout& layout = *span.layout;
  const auto* query = reinterpret_cast<const float*>(span.queries + q * QueryBytes(layout));
  const auto part = [&](int64_t t) {
    return span.part + (t - span.span_first) / kKvGroup * span.group_stride;
  };
  float scores[kKvBlock];
  float block_max = -INFINITY;
  for (int64_t t = begin; t < end; ++t) {
    LoadKey(layout, part(t), t % kKvGroup, decoded);
    float score = 0;
    for (int64_t k = 0; k < layout.key_pad(); ++k) score += query[k] * decoded[k];
    scores[t - begin] = score;
    block_max = std::max(block_max, score);
  }
  float* values = result.values + q * layout.value_pad();
  const float max = std::max(result.max[q], block_max);
  const float kept = result.max[q] == -INFINITY ? 0 : std::exp(result.max[q] - max);
  result.max[q] = max;
  result.sum[q] *= kept;
  for (int64_t c = 0; c < layout.value_pad(); ++c) values[c] *= kept;
  for (int64_t t = begin; t < end; ++t) {
    const float weight = std::exp(scores[t - begin] - max);
    result.sum[q] += weight;
    LoadValue(layout, part(t), t % kKvGroup, decoded);
    for (int64_t c = 0; c < layout.value_pad(); ++c) values[c] += weight * decoded[c];
  }
}

void Attend(const AttentionSpan& span, const AttentionResult& result, std::byte* scratch) {
  auto* decoded = reinterpret_cast<float*>(scratch);
  for (int64_t q = 0; q < span.num_queries; ++q) {
    result.max[q] = -INFINITY;
    result.sum[q] = 0;
    std::fill_n(result.values + q * span.layout->value_pad(), span.layout->value_pad(), 0.0f);
    for (int64_t block = span.span_first; block < span.span_first + kKvSpan; block += kKvBlock) {
      const int64_t begin = std::max(block, span.begin[q]), end = std::min(block + kKvBlock, span.end[q]);
      if (begin < end) AttendBlock(span, q, begin, end, result, decoded);
    }
  }
}

void Join(float max, float sum, const float* values, int64_t value_pad, const AttentionResult& to) {
  if (max == -INFINITY) return;
  const float joined = std::max(max, *to.max);
  const float kept = *to.max == -INFINITY ? 0 : std::exp(*to.max - joined), added = std::exp(max - joined);
  *to.max = joined;
  *to.sum = *to.sum * kept + sum * added;
  for (int64_t c = 0; c < value_pad; ++c) to.values[c] = to.values[c] * kept + values[c] * added;
}

void Products(const KvLayout& layout, const std::byte* part, int64_t group_stride, int64_t num_keys,
              const std::byte* queries, int64_t num_queries, float* out) {
  std::vector<float> key(static_cast<size_t>(layout.key_pad()));
  for (int64_t t = 0; t < num_keys; ++t) {
    LoadKey(layout, part + t / kKvGroup * group_stride, t % kKvGroup, key.data());
    for (int64_t q = 0; q < num_queries; ++q) {
      const auto* query = reinterpret_cast<const float*>(queries + q * QueryBytes(layout));
      float sum = 0;
      for (size_t k = 0; k < key.size(); ++k) sum += query[k] * key[k];
      out[q * kKvBlock + t] = sum;
    }
  }
}

}  // namespace

const AttentionKernels& ReferenceAttention() {
  static constinit const AttentionKernels kTable = {
      .name = "reference",
      .pack_query = PackQuery,
      .attend = Attend,
      .fast_type = KvType::kF32,
      .store_group = StoreGroup,
      .products = Products,
      .join = Join,
  };
  return kTable;
}

}  // namespace deepshock
