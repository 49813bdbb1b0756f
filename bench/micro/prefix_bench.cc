// SPDX-License-Identifier: Apache-2.0
// What the prefix cache gains, and what chunks of prompts cost: for each chunk, the time to the first token
// of a prompt, of the same again and of one that shares all but its end, and the longest pause of a stream
// beside it.
//   prefix_bench MODEL [TOKENS] [CHUNK...]
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "base/check.h"
#include "deepshock/engine.h"

namespace deepshock {
namespace {

GenerationRequest Request(const std::vector<int32_t>& prompt, int64_t max_tokens) {
  GenerationRequest request;
  request.prompt = prompt;
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.ignore_eos = true;
  return request;
}

void Measure(const std::string& path, int64_t num_tokens, int chunk) {
  EngineOptions options;
  options.batch_size = 2;
  options.prefill_chunk = chunk;
  options.prefix_cache_bytes = int64_t{4} << 30;
  options.speculation = Speculation::kOff;
  auto engine = Engine::Load(path, options);
  DS_CHECK(engine.ok(), engine.message().c_str());
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < num_tokens; ++i)
    prompt.push_back(static_cast<int32_t>(100 + i * i * 31 % ((*engine)->info().vocab_size - 200)));
  const GenerationResult first = (*engine)->Generate(Request(prompt, 8));
  const GenerationResult again = (*engine)->Generate(Request(prompt, 8));
  DS_CHECK(first.status.ok() && again.status.ok(), first.status.message().c_str());
  DS_CHECK(first.tokens == again.tokens, "the same output");
  std::vector<int32_t> other = prompt;
  other.back() += 1;
  const GenerationResult shared = (*engine)->Generate(Request(other, 8));
  // A stream, and beside it a prompt that nobody knows.
  using Clock = std::chrono::steady_clock;
  Clock::time_point last = Clock::now();
  std::vector<double> gaps;
  bool watching = false;
  GenerationRequest stream = Request({prompt.begin(), prompt.begin() + 8}, 1 << 20);
  stream.on_token = [&](const StreamedToken&) {
    const Clock::time_point now = Clock::now();
    if (watching) gaps.push_back(std::chrono::duration<double, std::milli>(now - last).count());
    last = now;
    return true;
  };
  const uint64_t id = (*engine)->Submit(stream);
  for (int i = 0; i < 10; ++i) (*engine)->Step();
  watching = true;
  std::reverse(other.begin(), other.end());
  const GenerationResult beside = (*engine)->Generate(Request(other, 1));
  (*engine)->Cancel(id);
  while ((*engine)->Step()) {
  }
  std::sort(gaps.begin(), gaps.end());
  fmt::print("| {} | {:.0f} ({:.1f}/s) | {:.1f} | {:.0f} | {:.0f} ({} cached) | {:.0f} | {:.0f}, {:.0f} |\n",
             chunk, first.first_token_ms, 1000 * static_cast<double>(num_tokens) / first.first_token_ms,
             again.first_token_ms, first.first_token_ms / again.first_token_ms, shared.first_token_ms,
             shared.cached_prompt_tokens, beside.first_token_ms, gaps.empty() ? 0 : gaps[gaps.size() / 2],
             gaps.empty() ? 0 : gaps.back());
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: prefix_bench MODEL [TOKENS] [CHUNK...]\n");
    return 2;
  }
  const int64_t num_tokens = argc > 2 ? std::atoll(argv[2]) : 1500;
  fmt::print(
      "first token, ms\n\n| chunk | of {} tokens | again | times sooner | another end | beside a stream | "
      "its pauses: median, longest |\n",
      num_tokens);
  fmt::print("| --- | --- | --- | --- | --- | --- | --- |\n");
  for (int i = 3; i < std::max(argc, 4); ++i)
    Measure(argv[1], num_tokens, argc > 3 ? std::atoi(argv[i]) : 512);
  return 0;
}

}  // namespace
}  // namespace deepshock

int main(int argc, char** argv) { return deepshock::Main(argc, argv); }
