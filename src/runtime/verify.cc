// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "runtime/kv_cache.h"

namespace deepshock {
namespace {

constexpr int64_t kGenerated = 24;  // tokens at the end of `greedy` that were generated

// Keeps everything that a pass computed.
class Recorder final : public ForwardObserver {
 public:
  struct Routing {
    int k = 0;
    std::vector<float> logits, weights;
    std::vector<int32_t> experts;
  };
  void OnHiddenState(int, std::span<const float> hidden) override {
    hidden_states.insert(hidden_states.end(), hidden.begin(), hidden.end());
  }
  void OnRouting(const RoutingView& r) override {
    routing[r.layer] = {r.num_chosen,
                        {r.logits.begin(), r.logits.end()},
                        {r.weights.begin(), r.weights.end()},
                        {r.experts.begin(), r.experts.end()}};
  }
  std::vector<float> hidden_states;  // [L+1, T, H]
  std::map<int, Routing> routing;    // by layer
};

template <typename T>
std::vector<T> Values(const StoredTensor& tensor) {
  std::vector<T> values(static_cast<size_t>(tensor.bytes) / sizeof(T));
  std::memcpy(values.data(), tensor.data, values.size() * sizeof(T));
  return values;
}

template <typename T>
Result<std::vector<T>> Read(const StoredTensor& tensor, DType dtype, const std::vector<int64_t>& dims) {
  if (tensor.dtype != dtype || tensor.dims != dims) {
    return Fail("reference tensor {}: expected {} [{}], found {} [{}]", tensor.name, Name(dtype),
                fmt::join(dims, ", "), Name(tensor.dtype), fmt::join(tensor.dims, ", "));
  }
  return Values<T>(tensor);
}

// Every value within the tolerance; a NaN on either side fails.
VerifyCheck CompareValues(std::string name, std::span<const float> found, std::span<const float> expected,
                          double tolerance, int64_t row_size) {
  VerifyCheck check{std::move(name), true, 0, tolerance, ""};
  size_t worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(static_cast<double>(found[i]) - expected[i]);
    if (!(error <= tolerance)) check.passed = false;
    if (!(error <= check.max_error)) {
      check.max_error = error;
      worst = i;
    }
  }
  const auto row = static_cast<size_t>(row_size);
  check.detail = fmt::format("{} x {} values, largest error at [{}, {}]", expected.size() / row, row,
                             worst / row, worst % row);
  return check;
}

double LargestMagnitude(std::span<const float> values) {
  double largest = 0;
  for (const float v : values) largest = std::max(largest, std::abs(static_cast<double>(v)));
  return largest;
}

class Verifier {
 public:
  Verifier(const Model& model, Compute& compute, const SafetensorsFile& golden, const VerifyOptions& options)
      : model_(model), compute_(compute), golden_(golden), options_(options) {}

  Result<std::vector<VerifyCheck>> Run() {
    const StoredTensor* ids = golden_.Find("input_ids");
    if (ids == nullptr) return Fail("reference tensor input_ids: expected it, not in the file");
    num_tokens_ = ids->dims.empty() ? 0 : ids->dims.back();
    if (num_tokens_ < 1) return Fail("reference tensor input_ids: expected at least one token, found none");
    DS_ASSIGN(input_, Read<int32_t>(*ids, DType::kI32, {1, num_tokens_}));
    DS_RETURN_IF_ERROR(RunPrompt());
    DS_RETURN_IF_ERROR(CheckRouters());
    DS_RETURN_IF_ERROR(CheckGreedy());
    if (checks_.empty())
      return Fail("the reference holds nothing to check: expected logits, hidden_states, router.* or greedy");
    return std::move(checks_);
  }

 private:
  Status RunPrompt() {
    const ModelSpec& spec = model_.spec();
    KvCache cache(model_.state_spec(), num_tokens_);
    DS_RETURN_IF_ERROR(cache.Reserve(num_tokens_));
    const SequenceChunk chunk{cache.view(), input_, true};
    ForwardOutput output;
    DS_RETURN_IF_ERROR(model_.Forward(compute_, {&chunk, 1}, &recorder_, &output));
    if (const StoredTensor* tensor = golden_.Find("logits")) {
      DS_ASSIGN(const auto expected, Read<float>(*tensor, DType::kF32, {num_tokens_, spec.vocab_size}));
      checks_.push_back(
          CompareValues("logits", output.logits, expected, options_.logit_tolerance, spec.vocab_size));
    }
    if (const StoredTensor* tensor = golden_.Find("hidden_states")) {
      const int64_t states = spec.num_layers() + 1, size = num_tokens_ * spec.hidden;
      DS_ASSIGN(const auto expected, Read<float>(*tensor, DType::kF32, {states, num_tokens_, spec.hidden}));
      for (int64_t i = 0; i < states; ++i) {
        const auto part = [&](const std::vector<float>& all) {
          return std::span(all).subspan(static_cast<size_t>(i * size), static_cast<size_t>(size));
        };
        const double tolerance = options_.hidden_tolerance * std::max(1.0, LargestMagnitude(part(expected)));
        const std::string name = i == 0 ? "embeddings" : fmt::format("hidden states layer {}", i - 1);
        checks_.push_back(
            CompareValues(name, part(recorder_.hidden_states), part(expected), tolerance, spec.hidden));
      }
    }
    return {};
  }

  // "router.model.layers.3.mlp.gate.2" -> layer 3, part 2
  Status CheckRouters() {
    for (const StoredTensor& tensor : golden_.tensors()) {
      const std::string_view name = tensor.name;
      if (!name.starts_with("router.") || !name.ends_with(".2")) continue;
      const size_t at = name.find("layers.");
      if (at == std::string_view::npos)
        return Fail("reference tensor {}: expected a layer number in its name", name);
      const int layer = std::atoi(std::string(name.substr(at + 7)).c_str());
      const auto found = recorder_.routing.find(layer);
      if (found == recorder_.routing.end()) {
        return Fail("reference tensor {}: expected a router in layer {}, the model has none there", name,
                    layer);
      }
      DS_RETURN_IF_ERROR(CheckRouter(layer, std::string(name.substr(0, name.size() - 1)), found->second));
    }
    return {};
  }

  Status CheckRouter(int layer, const std::string& prefix, const Recorder::Routing& found) {
    const int64_t num_experts = model_.spec().router.num_experts, k = found.k;
    DS_ASSIGN(const auto experts, Read<int32_t>(*golden_.Find(prefix + "2"), DType::kI32, {num_tokens_, k}));
    const StoredTensor* weights_tensor = golden_.Find(prefix + "1");
    const StoredTensor* logits_tensor = golden_.Find(prefix + "0");
    if (logits_tensor != nullptr) {
      DS_ASSIGN(const auto logits, Read<float>(*logits_tensor, DType::kF32, {num_tokens_, num_experts}));
      checks_.push_back(CompareValues(fmt::format("router logits layer {}", layer), found.logits, logits,
                                      options_.router_tolerance, num_experts));
    }
    // Scattered by expert id, so that the order of the chosen does not count; -1 where not chosen.
    const auto scatter = [&](const std::vector<int32_t>& ids, const std::vector<float>& values) {
      std::vector<float> dense(static_cast<size_t>(num_tokens_ * num_experts), -1.0f);
      for (size_t i = 0; i < ids.size(); ++i) {
        const int64_t row = static_cast<int64_t>(i) / k;
        dense[static_cast<size_t>(row * num_experts + ids[i])] = values.empty() ? 1.0f : values[i];
      }
      return dense;
    };
    for (const int32_t e : experts) {
      if (e < 0 || e >= num_experts)
        return Fail("reference tensor {}2: expected expert ids below {}, found {}", prefix, num_experts, e);
    }
    VerifyCheck choice{fmt::format("experts layer {}", layer), true, 0, 0, ""};
    const auto expected_sets = scatter(experts, {}), found_sets = scatter(found.experts, {});
    for (int64_t t = 0; t < num_tokens_; ++t) {
      const auto begin = t * num_experts, end = begin + num_experts;
      if (!std::equal(expected_sets.begin() + begin, expected_sets.begin() + end, found_sets.begin() + begin))
        ++choice.max_error;
    }
    choice.passed = choice.max_error == 0;
    choice.detail = fmt::format("{} tokens, top {} of {}", num_tokens_, k, num_experts);
    checks_.push_back(choice);
    if (weights_tensor != nullptr) {
      DS_ASSIGN(const auto weights, Read<float>(*weights_tensor, DType::kF32, {num_tokens_, k}));
      checks_.push_back(CompareValues(fmt::format("expert weights layer {}", layer),
                                      scatter(found.experts, found.weights), scatter(experts, weights),
                                      options_.router_tolerance, num_experts));
    }
    return {};
  }

  // Generates with the cache, token by token, and compares tokens and the logits on the way.
  Status CheckGreedy() {
    const StoredTensor* tensor = golden_.Find("greedy");
    if (tensor == nullptr) return {};
    const int64_t vocab = model_.spec().vocab_size, length = tensor->dims.empty() ? 0 : tensor->dims[0];
    DS_ASSIGN(const auto expected, Read<int32_t>(*tensor, DType::kI32, {length}));
    if (length <= kGenerated)
      return Fail("reference tensor greedy: expected more than {} tokens, found {}", kGenerated, length);
    KvCache cache(model_.state_spec(), length);
    DS_RETURN_IF_ERROR(cache.Reserve(length));
    std::vector<int32_t> tokens(expected.begin(), expected.end() - kGenerated);
    std::vector<float> logits;
    ForwardOutput output;
    size_t done = 0;
    while (done < static_cast<size_t>(length)) {
      const SequenceChunk chunk{cache.view(), std::span(tokens).subspan(done), true};
      DS_RETURN_IF_ERROR(model_.Forward(compute_, {&chunk, 1}, nullptr, &output));
      logits.insert(logits.end(), output.logits.begin(), output.logits.end());
      done = tokens.size();
      const auto last = output.logits.end() - vocab;
      tokens.push_back(static_cast<int32_t>(std::max_element(last, output.logits.end()) - last));
    }
    VerifyCheck check{"greedy tokens", true, 0, 0, fmt::format("{} tokens", kGenerated)};
    for (size_t i = 0; i < expected.size(); ++i) check.max_error += tokens[i] != expected[i] ? 1 : 0;
    check.passed = check.max_error == 0;
    checks_.push_back(check);
    if (const StoredTensor* reference = golden_.Find("greedy_logits"); reference != nullptr && check.passed) {
      DS_ASSIGN(const auto values, Read<float>(*reference, DType::kF32, {length, vocab}));
      checks_.push_back(CompareValues("greedy logits", logits, values, options_.logit_tolerance, vocab));
    }
    return {};
  }

  const Model& model_;
  Compute& compute_;
  const SafetensorsFile& golden_;
  const VerifyOptions& options_;
  int64_t num_tokens_ = 0;
  std::vector<int32_t> input_;
  Recorder recorder_;
  std::vector<VerifyCheck> checks_;
};

}  // namespace

Result<std::vector<VerifyCheck>> VerifyModel(const Model& model, Compute& compute,
                                             const SafetensorsFile& golden, const VerifyOptions& options) {
  return Verifier(model, compute, golden, options).Run();
}

}  // namespace deepshock
