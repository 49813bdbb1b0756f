// SPDX-License-Identifier: Apache-2.0
// Products of weights from memory with few and many rows of activations:
//   matmul_bench [--threads N] [--table NAME] [--rounds N] [--type NAME] [--rows N]
// Weights [2048, 2048], as the kernels want them (interleaved where the type can be), so many copies that
// they come from memory; for 512 rows one copy. Prints for every type and number of rows the best and the
// median round: bytes of weights and operations a second.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "kernels/peak.h"
#include "kernels/test_matrix.h"
#include "tensor/interleaved.h"

namespace deepshock {
namespace {

constexpr int64_t kSide = 2048;
constexpr int64_t kBytes = int64_t{256} << 20;  // past every cache

// Copies of one random matrix.
struct Weights {
  explicit Weights(DType dtype) : random(dtype, kSide, kSide, 1) {
    Matrix m = random.view();
    std::vector<std::byte> packed;
    if (CanInterleave(m)) {
      Matrix view = InterleavedShape(m);
      packed.resize(static_cast<size_t>(InterleavedBytes(view)));
      InterleaveRows(m, 0, m.rows, packed.data());
      m = view;
    } else {
      packed.resize(static_cast<size_t>(m.rows * RowBytes(dtype, m.cols)));
      for (int64_t row = 0; row < m.rows; ++row) {
        std::memcpy(packed.data() + row * RowBytes(dtype, m.cols), m.data + row * m.row_stride,
                    static_cast<size_t>(RowBytes(dtype, m.cols)));
      }
      m.row_stride = RowBytes(dtype, m.cols);
    }
    bytes = static_cast<int64_t>(packed.size());
    const int64_t copies = kBytes / bytes;
    memory.resize(static_cast<size_t>(copies * bytes));
    for (int64_t i = 0; i < copies; ++i) {
      std::memcpy(memory.data() + i * bytes, packed.data(), packed.size());
      m.data = memory.data() + i * bytes;
      matrices.push_back(m);
    }
  }
  TestMatrix random;
  std::vector<std::byte> memory;
  std::vector<Matrix> matrices;
  int64_t bytes = 0;
};

void Measure(Compute& compute, DType dtype, const Weights& w, int64_t rows, int rounds) {
  const std::vector<float> x = RandomFloats(rows * kSide, 2);
  std::vector<float> y(static_cast<size_t>(rows * kSide));
  const size_t copies = rows >= 64 ? 1 : w.matrices.size();
  std::vector<double> seconds;
  for (int round = 0; round <= rounds; ++round) {
    Activations activations(compute, x.data(), rows, kSide);
    const auto begin = std::chrono::steady_clock::now();
    for (size_t i = 0; i < copies; ++i) MatMul(compute, w.matrices[i], {}, activations, y.data());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (round > 0) seconds.push_back(took.count() / static_cast<double>(copies));
  }
  std::sort(seconds.begin(), seconds.end());
  const double best = seconds.front(), median = seconds[seconds.size() / 2];
  const double ops = 2e-9 * static_cast<double>(rows * kSide * kSide);
  std::printf("%-8s %4lld rows  best %7.1f GB/s %7.1f Gop/s   median %7.1f GB/s %7.1f Gop/s\n",
              std::string(Name(dtype)).c_str(), static_cast<long long>(rows),
              1e-9 * static_cast<double>(w.bytes) / best, ops / best,
              1e-9 * static_cast<double>(w.bytes) / median, ops / median);
}

int Main(int argc, char** argv) {
  int threads = DefaultNumThreads(), rounds = 5;
  int64_t only_rows = 0;
  std::string table, type;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--threads") == 0) threads = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--table") == 0) table = argv[i + 1];
    if (std::strcmp(argv[i], "--type") == 0) type = argv[i + 1];
    if (std::strcmp(argv[i], "--rows") == 0) only_rows = std::atoi(argv[i + 1]);
  }
  ThreadPool pool(std::max(1, threads));
  const Kernels* kernels = &BestKernels();
  if (!table.empty()) {
    const Result<const Kernels*> named = KernelsByName(table);
    if (!named.ok()) {
      std::fprintf(stderr, "%s\n", named.message().c_str());
      return 1;
    }
    kernels = *named;
  }
  Compute compute(*kernels, pool);
  const PeakRates peak = MeasurePeak(*kernels, pool, 0.2);
  ReadProbe probe(pool, int64_t{512} << 20);
  double read = 0;
  for (int i = 0; i < 3; ++i) read = std::max(read, probe.Measure());
  std::printf("%s, %d threads; reads %.1f GB/s, int8 %.0f Gop/s, float32 %.0f Gop/s\n",
              std::string(kernels->name).c_str(), pool.num_threads(), read * 1e-9, peak.int8_ops * 1e-9,
              peak.float_ops * 1e-9);
  for (const DType dtype : kWeightTypes) {
    if (!type.empty() && type != Name(dtype)) continue;
    if (dtype == DType::kMxfp4Split) continue;
    const Weights weights(dtype);
    for (const int64_t rows : {1, 2, 3, 4, 8, 16, 512}) {
      if (only_rows == 0 || only_rows == rows) Measure(compute, dtype, weights, rows, rounds);
    }
  }
  return 0;
}

}  // namespace
}  // namespace deepshock

int main(int argc, char** argv) { return deepshock::Main(argc, argv); }
