// SPDX-License-Identifier: Apache-2.0
// What a caller asks of the engine and what comes back: plain data, part of the stable API.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace deepshock {

// How the next token is drawn. The steps run in this order, each on what the one before left (the order of
// Hugging Face transformers and vLLM; llama.cpp applies the temperature last):
//   constraint, logit bias, repetition penalty, presence and frequency penalty, temperature, top-k, top-p, min-p.
// Ties go to the lower token id.
struct SamplingOptions {
  double temperature = 1.0;  // >= 0; 0: greedy, the likeliest token after bias and penalties
  int64_t top_k = 0;         // >= 0; keep the k likeliest; 0: all
  double top_p = 1.0;        // (0, 1]; keep the likeliest ones until their probabilities reach p
  double min_p = 0.0;        // [0, 1]; keep those with at least min_p times the likeliest one's probability
  // > 0; 1: off. Logits of tokens in the prompt or the output are divided by it when positive, else
  // multiplied (arXiv 1909.05858).
  double repetition_penalty = 1.0;
  // [-2, 2]; subtracted from the logits of tokens in the output: once, and once for each occurrence.
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  std::vector<std::pair<int32_t, double>> logit_bias;  // token id, what is added to its logit
  // The same seed gives the same text, whatever else is in the batch, however many threads compute, with and
  // without speculation. None: a random one, reported in the result.
  std::optional<uint64_t> seed;
};

// Which experts serve a request, and how many: docs/routing.md. `experts` is the name of a group, or
// LAYER:EXPERT, where each side is a number, a range or *: "3:17", "2-4:0-7", "*:5".
struct ExpertRule {
  enum class Kind {
    kBan,    // never chosen
    kBias,   // `value` is added to what the selection is made on; weights stay the router's
    kBoost,  // the router's odds for it are multiplied by `value`: moves selection and weight
  };
  Kind kind = Kind::kBan;
  std::string experts;
  double value = 0;
};

struct RoutingOptions {
  std::vector<ExpertRule> rules = {};  // where several speak about an expert they add up; a ban wins
  int experts_per_token = 0;      // at most so many, up to the model's K; 0: K
  // (0, 1]; of the experts chosen for a token keep the fewest whose weights reach this share of their sum,
  // but not fewer than min_experts. 1: all.
  double adaptive_experts = 1.0;
  int min_experts = 1;
  bool explain = false;  // fill GenerationResult::experts

  bool steers() const { return !rules.empty() || experts_per_token > 0 || adaptive_experts < 1; }
};

enum class FinishReason { kStop, kLength, kCancelled, kError };
std::string_view FinishReasonName(FinishReason reason);  // "stop", "length", "cancelled", "error"

struct TokenLogprob {
  int32_t token = -1;
  float logprob = 0;  // natural, of the model's own distribution: before bias, penalties and temperature
};
struct TokenLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // the likeliest ones, descending
};

// One generated token as it is streamed. `text` is what became final with it: often empty (half a character,
// the beginning of a possible stop string), and left over text comes at the end with token -1.
struct StreamedToken {
  int32_t token = -1;
  std::string_view text;
  const TokenLogprobs* logprobs = nullptr;  // null unless asked for
};

// What a request's RoutingOptions did, over the tokens that its request computed.
struct RoutingAudit {
  struct Layer {
    int layer = 0;
    int64_t changed = 0;  // selections of experts that the router would not have chosen
    int64_t banned = 0;   // selections that the router would have made of banned experts
    int64_t dropped = 0;  // selections less than K a token: expert evaluations saved
  };
  RoutingOptions asked;
  int64_t tokens = 0;
  int64_t selections = 0;  // that the model would make: tokens x K x layers
  std::vector<Layer> layers;
};

// Which experts made an answer: of each generated token the gate weights in the pass that it was drawn from,
// over all layers, as shares of their sum.
struct AnswerExperts {
  struct Expert {
    int layer = 0, expert = 0;
    double share = 0;    // mean over the answer's tokens
    int64_t tokens = 0;  // that it worked on
  };
  struct Token {
    std::vector<float> group_shares;  // [groups]
    std::vector<Expert> experts;      // the strongest few
  };
  std::vector<std::string> groups;
  std::vector<double> group_shares;  // [groups] mean over tokens; groups may overlap
  double ungrouped_share = 0;        // of experts in no group
  std::vector<Expert> experts;       // all that worked, the largest share first
  std::vector<Token> tokens;         // as GenerationResult::tokens
};

struct GenerationResult {
  Status status;  // an error goes with FinishReason::kError
  FinishReason finish_reason = FinishReason::kError;
  std::string text;             // without the stop string
  std::string stop;             // the stop string that ended it; empty: none did
  std::vector<int32_t> tokens;  // all generated ones, the end-of-sequence token included
  std::vector<TokenLogprobs> logprobs;
  uint64_t seed = 0;  // the one used
  int64_t prompt_tokens = 0;
  int64_t cached_prompt_tokens = 0;      // of these, how many a session or the prefix cache held
  int64_t drafted_tokens = 0;            // guessed, and checked by the model
  int64_t accepted_tokens = 0;           // of these, how many were right and are output
  double queue_ms = 0;                   // from submission until its prompt was first computed
  double first_token_ms = 0;             // since submission
  double total_ms = 0;                   // since submission
  double decode_ms = 0;                  // from the first token to the last
  std::optional<RoutingAudit> routing;   // of a request that steers
  std::optional<AnswerExperts> experts;  // of a request that asks for it
  std::vector<float> embedding;          // [H], of a request that asks for it
  std::string expert_type;  // the group that it was taken to belong to, given or inferred; empty: unknown
  bool queue_full = false;  // the error is that too many requests wait
  // Tokens after the first one over decode_ms; 0 when there are none.
  double TokensPerSecond() const;
};

class Session;

// What may come next in one output; one for each request. Used from the thread that calls Step.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // Sets the bit of each token that may come next, of [ceil(V / 32)] words, clears the others.
  // End-of-sequence tokens where the output may end.
  virtual void Allowed(std::span<uint32_t> mask) = 0;
  // The output goes on with this token. False when it may not.
  virtual bool Accept(int32_t token) = 0;
};

struct GenerationRequest {
  std::vector<int32_t> prompt;
  int64_t max_tokens = 0;  // 0: until the context is full
  SamplingOptions sampling;
  RoutingOptions routing;
  std::vector<std::string> stop;     // generation ends before the first of them
  std::vector<int32_t> stop_tokens;  // besides the model's own end-of-sequence tokens
  bool ignore_eos = false;           // not with a constraint
  bool keep_special_tokens = false;  // in the text
  int num_logprobs = -1;             // -1: none; 0: of the chosen token; n: and of the n likeliest
  Session* session = nullptr;        // keeps the state after this request, and reuses what the prompts share
  // Null: none. Tokens that it does not allow are never drawn, whatever their bias.
  std::shared_ptr<TokenConstraint> constraint;
  std::string expert_type;           // the group of experts that it will use most, a hint; empty: unknown
  int priority = 0;                  // higher ones first; those that wait gain (docs/scheduling.md)
  // Computes the prompt and generates nothing: GenerationResult::embedding becomes the mean over its tokens
  // of the last layer's normed hidden state.
  bool embed = false;
  // Both run on the thread that calls Step, and may call Submit and Cancel. Returning false cancels the
  // request.
  std::function<bool(const StreamedToken&)> on_token;
  std::function<void(GenerationResult)> on_done;  // called exactly once
};

}  // namespace deepshock
