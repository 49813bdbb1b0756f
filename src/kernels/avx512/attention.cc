// SPDX-License-Identifier: Apache-2.0
#include "kernels/avx512/vector.h"
#include "kernels/simd/attention_inl.h"

namespace deepshock {
namespace {

// States that are not float32 are computed by the 256-bit kernels, bit for bit.
void PackQuery(const KvLayout& layout, const float* query, float scale, std::byte* packed) {
  kAvx2Attention.pack_query(layout, query, scale, packed);
}

void Attend(const AttentionSpan& span, const AttentionResult& result, std::byte* scratch) {
  const bool is_f32 = GeometryOf(*span.layout).type == KvType::kF32;
  (is_f32 ? AttendFloats : kAvx2Attention.attend)(span, result, scratch);
}

}  // namespace

constinit const AttentionKernels kAvx512Attention = {
    .name = "avx512",
    .pack_query = PackQuery,
    .attend = Attend,
    .fast_type = KvType::kF32,
    .store_group = StoreGroup,
    .products = ProductsFloats,
    .join = JoinResults,
};

}  // namespace deepshock
