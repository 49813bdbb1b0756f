// SPDX-License-Identifier: Apache-2.0
#include "kernels/kernels.h"

#include <algorithm>

#include "kernels/built_tables.h"
#include "kernels/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace deepshock {
namespace {

using Built = BuiltTable<Kernels>;

#if defined(__x86_64__)
// __builtin_cpu_supports also asks whether the operating system saves the registers. Not every compiler's
// knows F16C.
bool HasAvx2() {
  unsigned eax, ebx, ecx = 0, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0 &&
         __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool HasAvx512Vnni() { return HasAvx512() && __builtin_cpu_supports("avx512vnni"); }
#elif defined(__aarch64__)
// NEON itself is part of AArch64; the dot product of bytes came with Armv8.2.
bool HasNeonDotProduct() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return false;
#endif
}
#endif

#if defined(__x86_64__) || defined(__aarch64__)
Kernels Table(const Kernels& base, std::string_view name, const InterleavedKernels& interleaved) {
  Kernels table = base;
  table.name = name;
  table.interleaved = interleaved;
  return table;
}
#endif

// Slowest first.
std::vector<Built> FindTables() {
  std::vector<Built> built = {{&ReferenceKernels(), true}};
#if defined(__x86_64__)
  static const Kernels avx2 = Table(kAvx2Kernels, "avx2", kAvx2Interleaved);
  static const Kernels avx512 = Table(kAvx512Kernels, "avx512", kAvx2Interleaved);
  static const Kernels avx512vnni = Table(kAvx512Kernels, "avx512vnni", kAvx512VnniInterleaved);
  built.push_back({&avx2, HasAvx2()});
  built.push_back({&avx512, HasAvx512()});
  built.push_back({&avx512vnni, HasAvx512Vnni()});
#elif defined(__aarch64__)
  static const Kernels neon = Table(kNeonKernels, "neon", kNeonInterleaved);
  built.push_back({&neon, HasNeonDotProduct()});
#endif
  return built;
}

// Asked for once: under a hypervisor the processor's answer takes many microseconds.
const std::vector<Built>& BuiltTables() {
  static const std::vector<Built> kTables = FindTables();
  return kTables;
}

}  // namespace

int64_t MatMulScratch(const Matrix& w) {
  const int64_t stride = std::min(w.cols, kChunkCols) + 2 * kScratchLine;
  return std::max(w.cols, kBlockRows * stride + kScratchLine);
}

const Kernels& BestKernels() { return *AvailableKernels().back(); }

std::vector<const Kernels*> AvailableKernels() { return TablesThatRun(BuiltTables()); }

Result<const Kernels*> KernelsByName(std::string_view name) {
  return TableByName(BuiltTables(), "kernels", name);
}

}  // namespace deepshock
