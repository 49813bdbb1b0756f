// SPDX-License-Identifier: Apache-2.0
#include "kernels/avx512/vector.h"
#include "kernels/simd/attention_inl.h"

namespace deepshock {

constinit const AttentionKernels kAvx512Attention = {
    .name = "avx512",
    .pack_query = PackQueryFloats,
    .attend = AttendFloats,
    .fast_type = KvType::kF32,
    .store_group = StoreGroup,
    .products = ProductsFloats,
    .join = JoinResults,
};

}  // namespace deepshock
