// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <algorithm>

#include "kernels/attention_isa.h"
#include "kernels/built_tables.h"

namespace deepshock {
namespace {

using Built = BuiltTable<AttentionKernels>;

// Slowest first. A table runs where the Kernels of its name do.
std::vector<Built> FindTables() {
  std::vector<Built> built = {{&ReferenceAttention(), true}};
#if defined(__x86_64__)
  built.push_back({&kAvx2Attention, KernelsByName("avx2").ok()});
  built.push_back({&kAvx512Attention, KernelsByName("avx512").ok()});
  built.push_back({&kAvx512VnniAttention, KernelsByName("avx512vnni").ok()});
#elif defined(__aarch64__)
  built.push_back({&kNeonAttention, KernelsByName("neon").ok()});
#endif
  return built;
}

// Asked for once: under a hypervisor the processor's answer takes many microseconds.
const std::vector<Built>& BuiltTables() {
  static const std::vector<Built> kTables = FindTables();
  return kTables;
}

}  // namespace

KvGeometry GeometryOf(const KvLayout& l) {
  KvGeometry g;
  g.type = l.type;
  g.shared_values = l.shared_values;
  g.num_sections = l.num_sections();
  g.section_dims[0] = l.first_section();
  g.section_dims[1] = l.key_dim - l.first_section();
  g.section_pad[0] = l.first_pad();
  g.section_pad[1] = l.key_pad() - l.first_pad();
  g.key_pad = l.key_pad();
  g.value_dim = l.value_dim;
  g.value_pad = l.value_pad();
  g.values_at = l.values_at();
  g.value_stride = l.value_stride();
  g.key_scales_at[0] = l.key_scales_at(0);
  g.key_scales_at[1] = l.key_scales_at(l.num_sections() - 1);
  g.value_scales_at = l.value_scales_at();
  return g;
}

int64_t QueryBytes(const KvLayout& layout) { return layout.key_pad() * 4 + kQueryExtra; }

int64_t AttentionScratch(const KvLayout& layout) {
  // Scores and weights of a tile, and a block of tokens decoded to float32.
  return 2 * kQueryTile * kKvBlock * 4 + kKvBlock * (layout.key_pad() + layout.value_pad()) * 4;
}

std::vector<const AttentionKernels*> AvailableAttention() { return TablesThatRun(BuiltTables()); }

Result<const AttentionKernels*> AttentionByName(std::string_view name) {
  return TableByName(BuiltTables(), "attention kernels", name);
}

const AttentionKernels& AttentionFor(const Kernels& kernels) {
  static const Kernels& best = BestKernels();  // asking the CPU takes longer than a layer's bookkeeping
  static const AttentionKernels& beside_best = *AvailableAttention().back();
  if (&kernels == &best) return beside_best;
  const Result<const AttentionKernels*> named = AttentionByName(kernels.name);
  return named.ok() ? **named : ReferenceAttention();
}

}  // namespace deepshock
