// SPDX-License-Identifier: Apache-2.0
// How fast experts come from disk: FileReader on a large file, records at random places, in one piece or in
// three, by size of a request and number of them under way.
//   file_reader_bench FILE [RECORD_BYTES [MILLISECONDS [ROUNDS [SETTINGS]]]]
// Rounds go over the first SETTINGS of the list, since disks of virtual machines change their speed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/file_reader.h"
#include "base/huge_memory.h"

namespace deepshock {
namespace {

constexpr int kRecordsAtOnce = 8;  // wanted together; some layers' misses

struct Setting {
  int64_t request_bytes;
  int num_requests;
  int pieces;  // of a record, each somewhere else
  bool uring;
};

// GB/s over `seconds`, a new record started for each that ends.
double Measure(const std::string& path, int64_t file_bytes, int64_t record_bytes, double seconds,
               const Setting& s) {
  auto reader = FileReader::Open({{path, file_bytes}}, {s.request_bytes, s.num_requests, s.uring, true});
  if (!reader.ok()) {
    std::fprintf(stderr, "%s\n", reader.message().c_str());
    std::exit(1);
  }
  constexpr int64_t kBlock = FileReader::kAlignment;
  const int64_t piece = record_bytes / s.pieces / kBlock * kBlock;
  const int num_places = kRecordsAtOnce * s.pieces;
  const auto memory = HugeMemory::Allocate(static_cast<size_t>(piece * num_places));
  std::mt19937_64 random(17);
  const auto start_one = [&](uint64_t place) {
    const auto block = static_cast<int64_t>(random() % static_cast<uint64_t>((file_bytes - piece) / kBlock));
    (*reader)->Start(
        {place, 0, block * kBlock, piece, (*memory)->data() + static_cast<int64_t>(place) * piece, true});
  };
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (int place = 0; place < num_places; ++place) start_one(static_cast<uint64_t>(place));
  int64_t bytes = 0;
  while (elapsed() < seconds) {
    const FileReadResult result = (*reader)->Wait();
    bytes += piece;
    start_one(result.tag);
  }
  const double rate = static_cast<double>(bytes) / elapsed() / 1e9;
  for (int place = 0; place < num_places; ++place) (*reader)->Wait();
  return rate;
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: file_reader_bench FILE [RECORD_BYTES [MILLISECONDS [ROUNDS [SETTINGS]]]]\n");
    return 1;
  }
  const std::string path = argv[1];
  const auto file_bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  const int64_t record_bytes = argc > 2 ? std::atoll(argv[2]) : 4866048;
  const double seconds = (argc > 3 ? std::atof(argv[3]) : 1500) / 1000;
  const int num_rounds = argc > 4 ? std::atoi(argv[4]) : 3;
  const std::vector<Setting> settings = {
      {1 << 20, 16, 1, true},  {1 << 20, 16, 3, true}, {1 << 20, 8, 1, true},   {1 << 20, 32, 1, true},
      {1 << 20, 4, 1, true},   {1 << 18, 16, 1, true}, {1 << 18, 64, 1, true},  {1 << 22, 16, 1, true},
      {1 << 20, 16, 1, false}, {1 << 20, 8, 1, false}, {1 << 20, 16, 3, false},
  };
  const size_t count = argc > 5 ? static_cast<size_t>(std::atoi(argv[5])) : settings.size();
  for (int round = 0; round < num_rounds; ++round) {
    for (size_t i = 0; i < std::min(count, settings.size()); ++i) {
      const Setting& s = settings[i];
      const double rate = Measure(path, file_bytes, record_bytes, seconds, s);
      std::printf("round %d  %-8s %4lld KiB a request, %2d at once, record in %d: %.2f GB/s\n", round,
                  s.uring ? "io_uring" : "threads", static_cast<long long>(s.request_bytes >> 10),
                  s.num_requests, s.pieces, rate);
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace deepshock

int main(int argc, char** argv) { return deepshock::Main(argc, argv); }
