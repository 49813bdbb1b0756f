// SPDX-License-Identifier: Apache-2.0
#include "kernels/neon/vector.h"
#include "kernels/simd/attention_inl.h"

namespace deepshock {

constinit const AttentionKernels kNeonAttention = {
    .name = "neon",
    .pack_query = PackQueryFloats,
    .attend = AttendFloats,
    .fast_type = KvType::kF32,
    .store_group = StoreGroup,
    .products = ProductsFloats,
    .join = JoinResults,
};

}  // namespace deepshock
