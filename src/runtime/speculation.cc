// SPDX-License-Identifier: Apache-2.0
#include "runtime/speculation.h"

#include <algorithm>

namespace deepshock {
namespace {

// An n-gram counts from three tokens on; longer ones than the longest tell no more.
constexpr size_t kMinNgram = 3, kMaxNgram = 6;
// Tokens that are searched: microseconds, against the milliseconds of a pass.
constexpr size_t kMaxLookBack = 1 << 15;

}  // namespace

Status MtpDrafts::Draft(std::span<DraftRequest> requests) {
  // First the positions that the layer has not seen yet, with the tokens that followed them.
  std::vector<MtpChunk> chunks;
  std::vector<DraftRequest*> drafting;
  for (DraftRequest& request : requests) {
    const MtpTrack& track = request.state->mtp;
    if (track.num_waiting == 0) continue;
    chunks.push_back({request.state->kv.view(), track.num_rows, track.hidden,
                      request.tokens.last(static_cast<size_t>(track.num_waiting))});
    drafting.push_back(&request);
  }
  for (size_t step = 0; !chunks.empty(); ++step) {
    DS_RETURN_IF_ERROR(model_.ForwardMtp(chunks, &output_));
    const size_t n = chunks.size(), width = output_.hidden.size() / n, vocab = output_.logits.size() / n;
    if (step == 0) {
      for (const DraftRequest* request : drafting) {
        MtpTrack& track = request->state->mtp;
        track.num_rows += track.num_waiting;
        track.num_waiting = 0;
        track.hidden.clear();
      }
    }
    // Then its own guesses, one each time. Their rows are written again with what the main model says.
    hidden_.swap(output_.hidden);
    std::vector<MtpChunk> next;
    std::vector<DraftRequest*> going_on;
    for (size_t i = 0; i < n; ++i) {
      DraftRequest& request = *drafting[i];
      const int32_t token = request.sampler->Guess(
          std::span<const float>(output_.logits).subspan(i * vocab, vocab), *request.drafts);
      if (token < 0) continue;
      request.drafts->push_back(token);
      if (static_cast<int64_t>(request.drafts->size()) >= request.max_drafts) continue;
      next.push_back({request.state->kv.view(), request.state->mtp.num_rows + static_cast<int64_t>(step),
                      std::span<const float>(hidden_).subspan(i * width, width),
                      std::span<const int32_t>(*request.drafts).last(1)});
      going_on.push_back(&request);
    }
    chunks = std::move(next);
    drafting = std::move(going_on);
  }
  return {};
}

void MtpDrafts::OnComputed(SequenceState& state, std::span<const float> hidden, int64_t n) {
  if (n > 0) state.mtp.Append(hidden, n, static_cast<int64_t>(hidden.size()) / n);
}

Status NgramDrafts::Draft(std::span<DraftRequest> requests) {
  for (DraftRequest& request : requests) {
    const std::span<const int32_t> tokens = request.tokens;
    const size_t size = tokens.size();
    size_t best_length = kMinNgram - 1, best_end = 0;
    // From the newest backwards; `end` is the position after a match.
    const size_t oldest = size > kMaxLookBack ? size - kMaxLookBack : 0;
    for (size_t end = size - 1; end > oldest && best_length < kMaxNgram; --end) {
      size_t length = 0;
      while (length < kMaxNgram && length < end && tokens[end - 1 - length] == tokens[size - 1 - length])
        ++length;
      if (length <= best_length) continue;
      best_length = length;
      best_end = end;
    }
    if (best_end == 0) continue;
    const size_t count = std::min(static_cast<size_t>(request.max_drafts), size - best_end);
    const auto found = tokens.subspan(best_end, count);
    request.drafts->assign(found.begin(), found.end());
  }
  return {};
}

Result<DraftSources> MakeDraftSources(Speculation kind, TokenModel& model) {
  if (kind == Speculation::kMtp && !model.has_mtp()) {
    return Fail("speculation mtp: the model has no multi-token-prediction layer; use ngram");
  }
  DraftSources sources;
  if (kind == Speculation::kNgram || kind == Speculation::kAuto)
    sources.push_back(std::make_unique<NgramDrafts>());
  if (kind == Speculation::kMtp || (kind == Speculation::kAuto && model.has_mtp())) {
    sources.push_back(std::make_unique<MtpDrafts>(model));
  }
  return sources;
}

}  // namespace deepshock
