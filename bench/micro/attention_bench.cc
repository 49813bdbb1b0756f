// SPDX-License-Identifier: Apache-2.0
// Cost of attention over a token's layers, each with a state of its own so that nothing is in the caches:
//   attention_bench [--threads N] [--table NAME] [--rounds N] [--case PART_OF_A_NAME] [--type f32|q16|q8]
// Prints, for every shape and state type, the median and least time of one pass over all layers, the median
// CPU time over all threads (which on a shared machine is the steadier), products and the state's bytes a
// second.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "kernels/attention_ops.h"
#include "kernels/test_matrix.h"

namespace deepshock {
namespace {

struct Case {
  const char* name;
  int64_t heads, kv_heads, key_dim, value_dim, key_split, layers;
  int64_t sequences, rows, depth;  // rows of each sequence, tokens stored before them
};
constexpr Case kCases[] = {
    {"V2-Lite decode, depth 2048", 16, 1, 576, 512, 512, 27, 1, 1, 2048},
    {"V2-Lite decode, depth 512", 16, 1, 576, 512, 512, 27, 1, 1, 512},
    {"V2-Lite decode, depth 128", 16, 1, 576, 512, 512, 27, 1, 1, 128},
    {"V2-Lite 4 rows, depth 2048", 16, 1, 576, 512, 512, 27, 1, 4, 2048},
    {"V2-Lite 32 sequences, depth 512", 16, 1, 576, 512, 512, 27, 32, 1, 512},
    {"V2-Lite 512 rows absorbed", 16, 1, 576, 512, 512, 27, 1, 512, 0},
    {"V2-Lite 512 rows expanded", 16, 16, 192, 128, 0, 27, 1, 512, 0},
    {"Qwen3-30B decode, depth 2048", 32, 4, 128, 128, 0, 48, 1, 1, 2048},
    {"Qwen3-30B 512 rows", 32, 4, 128, 128, 0, 48, 1, 512, 0},
    {"Qwen3-30B 32 sequences, depth 512", 32, 4, 128, 128, 0, 48, 32, 1, 512},
    {"OLMoE decode, depth 2048", 16, 16, 128, 128, 0, 16, 1, 1, 2048},
};

double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Measure(Compute& compute, const Case& c, KvType type, int rounds) {
  AttentionParams params;
  params.layout = {type, c.kv_heads, c.key_dim, c.value_dim, c.key_split, c.key_split > 0};
  params.num_heads = c.heads;
  params.scale = 0.07f;
  const int64_t tokens = c.depth + c.rows, groups = (tokens + kKvGroup - 1) / kKvGroup;
  const int64_t bytes = groups * params.layout.group_bytes();
  const int64_t copies = std::min<int64_t>(c.layers, std::max<int64_t>(1, (1 << 30) / (bytes * c.sequences)));
  std::vector<std::byte*> states;  // [copies, sequences]
  const std::vector<float> keys = RandomFloats(tokens * c.kv_heads * c.key_dim, 1);
  const std::vector<float> values = RandomFloats(tokens * c.kv_heads * c.value_dim, 2);
  for (int64_t i = 0; i < copies * c.sequences; ++i) {
    states.push_back(static_cast<std::byte*>(std::aligned_alloc(64, static_cast<size_t>(bytes))));
    if (i > 0) {
      std::memcpy(states.back(), states.front(), static_cast<size_t>(bytes));
      continue;
    }
    const AttentionRows all{states.back(), 0, 0, tokens};
    StoreRows(compute, params.layout, {&all, 1}, {keys.data(), c.kv_heads * c.key_dim, c.key_dim},
              {values.data(), c.kv_heads * c.value_dim, c.value_dim});
  }
  const int64_t all_rows = c.sequences * c.rows;
  const std::vector<float> queries = RandomFloats(all_rows * c.heads * c.key_dim, 3);
  std::vector<float> out(static_cast<size_t>(all_rows * c.heads * c.value_dim));
  std::vector<double> wall, cpu;
  for (int round = 0; round <= rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    const double cpu_begin = CpuSeconds();
    for (int64_t layer = 0; layer < c.layers; ++layer) {
      std::vector<AttentionRows> sequences;
      for (int64_t s = 0; s < c.sequences; ++s) {
        sequences.push_back(
            {states[static_cast<size_t>(layer % copies * c.sequences + s)], c.depth, s * c.rows, c.rows});
      }
      Attend(compute, params, sequences, {queries.data(), c.heads * c.key_dim, c.key_dim},
             {out.data(), c.heads * c.value_dim, c.value_dim});
    }
    if (round == 0) continue;  // pages and buffers are touched for the first time
    wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    cpu.push_back(CpuSeconds() - cpu_begin);
  }
  for (std::byte* state : states) std::free(state);
  const double pairs = static_cast<double>(all_rows) * (static_cast<double>(c.depth) + (c.rows + 1) / 2.0);
  const double products = pairs * static_cast<double>(c.heads * (c.key_dim + c.value_dim) * c.layers);
  const double read = static_cast<double>(c.sequences * bytes * c.layers);
  const double least = *std::min_element(wall.begin(), wall.end());
  std::printf("%-34s %-5s %8.2f ms (least %8.2f) %8.2f cpu ms %6.1f G products/cpu s %5.1f GB/s at least\n",
              c.name, std::string(Name(type)).c_str(), Median(wall) * 1e3, least * 1e3, Median(cpu) * 1e3,
              products / Median(cpu) / 1e9, read / Median(wall) / 1e9);
}

int Main(int argc, char** argv) {
  int threads = DefaultNumThreads(), rounds = 5;
  std::string table, only, type_name;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--threads") == 0) threads = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--table") == 0) table = argv[i + 1];
    if (std::strcmp(argv[i], "--case") == 0) only = argv[i + 1];
    if (std::strcmp(argv[i], "--type") == 0) type_name = argv[i + 1];
  }
  ThreadPool pool(std::max(1, threads));
  Compute compute(BestKernels(), pool);
  compute.attention = AvailableAttention().back();
  if (!table.empty()) {
    const Result<const AttentionKernels*> named = AttentionByName(table);
    if (!named.ok()) {
      std::fprintf(stderr, "%s\n", named.message().c_str());
      return 1;
    }
    compute.attention = *named;
  }
  std::printf("%s, %d threads\n", std::string(compute.attention->name).c_str(), pool.num_threads());
  for (const Case& c : kCases) {
    if (!only.empty() && std::string(c.name).find(only) == std::string::npos) continue;
    for (const KvType type : {KvType::kF32, KvType::kQ16, KvType::kQ8}) {
      if (type_name.empty() || type_name == Name(type)) Measure(compute, c, type, rounds);
    }
  }
  return 0;
}

}  // namespace
}  // namespace deepshock

int main(int argc, char** argv) { return deepshock::Main(argc, argv); }
