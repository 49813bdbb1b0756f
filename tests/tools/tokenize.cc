// SPDX-License-Identifier: Apache-2.0
// Drives a tokenizer from a script: reads texts on stdin, each a 32-bit little-endian length and its bytes;
// writes for each the number of ids and the ids, 32-bit little-endian. With --decode also the length of the
// decoded text and its bytes. On stderr: what loading and encoding took.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "text/tokenizer.h"

namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

bool ReadWord(uint32_t* value) { return std::fread(value, 4, 1, stdin) == 1; }

void WriteWord(uint32_t value) { std::fwrite(&value, 4, 1, stdout); }

}  // namespace

int main(int argc, char** argv) {
  const bool decode = argc == 3 && std::strcmp(argv[2], "--decode") == 0;
  if (argc < 2 || (argc > 2 && !decode)) {
    fmt::print(stderr, "usage: tokenize TOKENIZER_JSON [--decode] < texts > ids\n");
    return 2;
  }
  const Clock::time_point start = Clock::now();
  const auto json = deepshock::ReadFile(argv[1], size_t{256} << 20);
  if (!json.ok()) {
    fmt::print(stderr, "tokenize: {}\n", json.message());
    return 1;
  }
  const auto tokenizer = deepshock::TokenizerFromJson(*json, argv[1]);
  if (!tokenizer.ok()) {
    fmt::print(stderr, "tokenize: {}\n", tokenizer.message());
    return 1;
  }
  const double load_s = Seconds(start);
  double encode_s = 0;
  size_t num_bytes = 0;
  size_t num_ids = 0;
  uint32_t length = 0;
  std::string text;
  while (ReadWord(&length)) {
    text.resize(length);
    if (length > 0 && std::fread(text.data(), 1, length, stdin) != length) {
      fmt::print(stderr, "tokenize: expected {} bytes, found the end of the input\n", length);
      return 1;
    }
    const Clock::time_point begin = Clock::now();
    const std::vector<int32_t> ids = tokenizer.value()->Encode(text);
    encode_s += Seconds(begin);
    num_bytes += text.size();
    num_ids += ids.size();
    WriteWord(static_cast<uint32_t>(ids.size()));
    std::fwrite(ids.data(), 4, ids.size(), stdout);
    if (decode) {
      const std::string back = tokenizer.value()->Decode(ids);
      WriteWord(static_cast<uint32_t>(back.size()));
      std::fwrite(back.data(), 1, back.size(), stdout);
    }
  }
  fmt::print(stderr, "load {:.3f} s, {} bytes, {} ids, {:.3f} s, {:.1f} MB/s\n", load_s, num_bytes, num_ids,
             encode_s, encode_s > 0 ? static_cast<double>(num_bytes) / 1e6 / encode_s : 0.0);
  return std::fflush(stdout) == 0 ? 0 : 1;
}
