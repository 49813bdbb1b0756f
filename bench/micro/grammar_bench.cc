// SPDX-License-Identifier: Apache-2.0
// What structured output costs a step: compiling schemas, and the masks along random documents, with nothing
// kept
// ("cold": the first request with a schema) and with everything kept ("warm").
//   grammar_bench TOKENIZER_JSON|MODEL.gguf [WALKS]
// Prints for each schema the compile time, the states, and per step the mean, the 99th percentile and the
// largest time of a mask; the mean counts Accept too.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "grammar/json_schema.h"
#include "grammar/token_grammar.h"
#include "runtime/model_text.h"

namespace deepshock {
namespace {

using Clock = std::chrono::steady_clock;

double Microseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::micro>(Clock::now() - since).count();
}

struct Case {
  const char* name;
  const char* schema;
};
constexpr Case kCases[] = {
    {"any object", R"({"type":"object"})"},
    {"record", R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,
      "maximum":150},"email":{"type":"string","format":"email"},"tags":{"type":"array","items":{"type":"string"},
      "maxItems":5},"address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"},
      "zip":{"type":"string","pattern":"^[0-9]{5}$"}},"required":["street","city"]}},
      "required":["name","age","tags"]})"},
    {"counted strings", R"({"type":"array","items":{"type":"string","minLength":3,"maxLength":200}})"},
    {"choice of 50", nullptr},
    {"recursive tree",
     R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"value":{"type":"number"},
      "children":{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["value","children"]}}})"},
};

std::string SchemaOf(const Case& c) {
  if (c.schema != nullptr) return c.schema;
  nlohmann::ordered_json choice = {{"anyOf", nlohmann::ordered_json::array()}};
  for (int i = 0; i < 50; ++i) {
    choice["anyOf"].push_back({{"type", "object"},
                               {"properties",
                                {{"kind", {{"const", "kind_" + std::to_string(i)}}},
                                 {"field_" + std::to_string(i), {{"type", "string"}}}}},
                               {"required", {"kind", "field_" + std::to_string(i)}}});
  }
  return choice.dump();
}

// One document: times of its masks, and the total with Accept.
void Walk(std::shared_ptr<TokenGrammar> grammar, uint32_t seed, std::vector<double>* masks, double* total) {
  std::mt19937 random(seed);
  const TokenVocabulary& vocabulary = grammar->vocabulary();
  std::vector<uint32_t> mask(vocabulary.mask_words());
  GrammarMatcher matcher(std::move(grammar));
  for (int step = 0; step < 200; ++step) {
    const Clock::time_point start = Clock::now();
    matcher.Allowed(mask);
    masks->push_back(Microseconds(start));
    // A random allowed one; ordinary tokens more often than bytes.
    int32_t token = -1;
    for (int tries = 0; tries < 200000; ++tries) {
      const auto candidate = static_cast<int32_t>(random() % static_cast<uint32_t>(vocabulary.size()));
      if ((mask[static_cast<size_t>(candidate) / 32] >> candidate % 32 & 1) == 0) continue;
      token = candidate;
      if (vocabulary.bytes(token).size() > 1 || tries > 1000) break;
    }
    if (token < 0) {  // few are allowed
      for (int32_t t = 0; t < vocabulary.size() && token < 0; ++t) {
        if ((mask[static_cast<size_t>(t) / 32] >> t % 32 & 1) != 0) token = t;
      }
    }
    const Clock::time_point accepting = Clock::now();
    if (token < 0 || !matcher.Accept(token) || vocabulary.is_end(token)) break;
    *total += Microseconds(accepting);
  }
}

void Print(const char* name, std::vector<double> masks, double accepted) {
  std::sort(masks.begin(), masks.end());
  double sum = accepted;
  for (const double x : masks) sum += x;
  const size_t n = masks.size();
  fmt::print("  {:6s} {:6d} steps, {:8.1f} us mean, {:8.1f} us median, {:8.1f} us p99, {:8.1f} us largest\n",
             name, n, sum / static_cast<double>(n), masks[n / 2], masks[n * 99 / 100], masks.back());
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: grammar_bench TOKENIZER_JSON|MODEL.gguf [WALKS]\n");
    return 2;
  }
  const std::string path = argv[1];
  const int num_walks = argc > 2 ? std::atoi(argv[2]) : 20;
  ModelText text;
  if (path.ends_with(".gguf")) {
    Result<ModelText> loaded = LoadModelText(path);
    DS_CHECK(loaded.ok(), loaded.message().c_str());
    text = std::move(loaded).value();
  } else {
    const auto json = ReadFile(path, size_t{256} << 20);
    DS_CHECK(json.ok(), json.message().c_str());
    auto tokenizer = TokenizerFromJson(*json, path);
    DS_CHECK(tokenizer.ok(), tokenizer.message().c_str());
    text.tokenizer = std::move(tokenizer).value();
  }
  Clock::time_point start = Clock::now();
  const std::vector<int32_t> ends = {text.eos_tokens.empty() ? 1 : text.eos_tokens[0]};
  const auto vocabulary =
      std::make_shared<const TokenVocabulary>(*text.tokenizer, text.tokenizer->vocab_size(), ends);
  fmt::print("{}: {} tokens, {} and {} nodes, read in {:.0f} ms\n", path, vocabulary->size(),
             vocabulary->short_tokens().num_nodes(), vocabulary->long_tokens().num_nodes(),
             Microseconds(start) / 1000);
  for (const Case& c : kCases) {
    start = Clock::now();
    const auto grammar = CompileJsonSchema(nlohmann::ordered_json::parse(SchemaOf(c)));
    DS_CHECK(grammar.ok(), grammar.message().c_str());
    fmt::print("{}: compiled in {:.2f} ms, {} states\n", c.name, Microseconds(start) / 1000,
               (*grammar)->num_states());
    std::vector<double> cold, warm;
    double cold_accepted = 0, warm_accepted = 0;
    const auto kept = std::make_shared<TokenGrammar>(*grammar, vocabulary);
    for (int walk = 0; walk < num_walks; ++walk) {
      const auto seed = static_cast<uint32_t>(walk);
      Walk(std::make_shared<TokenGrammar>(*grammar, vocabulary), seed, &cold, &cold_accepted);
    }
    for (int round = 0; round < 2; ++round) {
      warm.clear();
      warm_accepted = 0;
      for (int walk = 0; walk < num_walks; ++walk)
        Walk(kept, static_cast<uint32_t>(walk), &warm, &warm_accepted);
    }
    Print("cold", cold, cold_accepted);
    Print("warm", warm, warm_accepted);
  }
  return 0;
}

}  // namespace
}  // namespace deepshock

int main(int argc, char** argv) { return deepshock::Main(argc, argv); }
