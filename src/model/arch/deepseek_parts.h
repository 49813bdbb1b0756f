// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention as DeepSeek-V2 and V3 configure it: the same keys in both, and one GGUF
// architecture.
#pragma once

#include "model/arch/gguf_parts.h"
#include "model/arch/hf_parts.h"

namespace deepshock {

inline constexpr GgufTraits kDeepSeekTraits{
    .arch = "deepseek2", .layout = RopeLayout::kInterleaved, .leading_dense = true};

// Attention, rope and the softmax scale.
Status ReadLatentAttention(const Config& config, ModelSpec* spec);
// All of a deepseek2 file but what tells V2 from V3, which the caller has set in `spec->router`.
Status ReadGgufDeepSeek(const GgufFile& file, std::string_view architecture, ModelSpec* spec);

}  // namespace deepshock
