// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/json.h"
#include "experts/trace.h"
#include "experts/trace_format.h"
#include "tensor/codec_float.h"

namespace deepshock {
namespace {

using Bytes = std::span<const std::byte>;

Status CutOff() { return Fail("expected more bytes, found the end"); }

Result<Bytes> Take(Bytes* bytes, uint64_t count) {
  if (count > bytes->size()) return CutOff();
  const Bytes taken = bytes->first(static_cast<size_t>(count));
  *bytes = bytes->subspan(static_cast<size_t>(count));
  return taken;
}

Result<uint64_t> TakeVarint(Bytes* bytes) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    DS_ASSIGN(const Bytes byte, Take(bytes, 1));
    const auto bits = static_cast<uint64_t>(byte[0]);
    if (shift == 63 && bits > 1) break;
    value |= (bits & 0x7F) << shift;
    if (bits < 0x80) return value;
  }
  return Fail("expected a number of 64 bits, found more");
}

// A number that the format bounds, so that arithmetic on it cannot overflow.
Result<int64_t> TakeCount(Bytes* bytes, const char* what, int64_t most) {
  DS_ASSIGN(const uint64_t value, TakeVarint(bytes));
  if (value > static_cast<uint64_t>(most))
    return Fail("{}: expected at most {}, found {}", what, most, value);
  return static_cast<int64_t>(value);
}

constexpr int64_t kMost = int64_t{1} << 48;

Result<int> IntegerOf(const Json& json, const char* name) {
  if (!json.is_number_integer()) return Fail("{}: expected an integer, found {}", name, json.type_name());
  const bool fits = json.is_number_unsigned() ? json.get<uint64_t>() <= INT32_MAX : json.get<int64_t>() >= 0;
  if (!fits) return Fail("{}: expected 0 to {}, found {}", name, INT32_MAX, json.dump());
  return json.get<int>();
}

Result<int> IntegerMember(const Json& json, const char* name) {
  return IntegerOf(json.contains(name) ? json[name] : Json(), name);
}

std::string TextMember(const Json& json, const char* name) {
  return json.contains(name) && json[name].is_string() ? json[name].get<std::string>() : std::string();
}

}  // namespace

Status CheckTraceHeader(const TraceHeader& header) {
  if (header.shape.num_experts < 1 || header.shape.num_experts > kMaxTraceExperts)
    return Fail("experts: expected 1 to {}, found {}", kMaxTraceExperts, header.shape.num_experts);
  const int most = std::min(kMaxTraceChosen, header.shape.num_experts);
  if (header.shape.num_chosen < 1 || header.shape.num_chosen > most)
    return Fail("experts_per_token: expected 1 to {}, found {}", most, header.shape.num_chosen);
  if (header.shape.layers.empty() || header.shape.layers.size() > kMaxTraceLayers)
    return Fail("layers: expected 1 to {} of them, found {}", kMaxTraceLayers, header.shape.layers.size());
  int last = -1;
  for (const int layer : header.shape.layers) {
    if (layer <= last) return Fail("layers: expected rising numbers, found {} after {}", layer, last);
    last = layer;
  }
  return {};
}

Result<std::unique_ptr<TraceReader>> TraceReader::Open(const std::string& path) {
  std::unique_ptr<TraceReader> reader(new TraceReader());
  DS_ASSIGN(reader->file_, MappedFile::Open(path));
  reader->rest_ = reader->file_->bytes();
  DS_RETURN_IF_ERROR(reader->ReadHeader().WithContext(path));
  const size_t num_layers = reader->header_.shape.layers.size();
  reader->experts_.resize(num_layers);
  reader->weights_.resize(num_layers);
  reader->layers_.resize(num_layers);
  return reader;
}

Status TraceReader::ReadHeader() {
  constexpr size_t kMagicBytes = sizeof(kTraceMagic) - 1;
  if (rest_.size() < kMagicBytes || std::memcmp(rest_.data(), kTraceMagic, kMagicBytes) != 0)
    return Fail("expected a route trace, which begins with {}", kTraceMagic);
  rest_ = rest_.subspan(kMagicBytes);
  DS_ASSIGN(const int64_t size, TakeCount(&rest_, "bytes of the header", kMaxTraceHeaderBytes));
  DS_ASSIGN(const Bytes text, Take(&rest_, static_cast<uint64_t>(size)));
  DS_ASSIGN(const Json json,
            ParseJson({reinterpret_cast<const char*>(text.data()), text.size()}).WithContext("header"));
  if (!json.is_object()) return Fail("header: expected an object, found {}", json.type_name());
  header_.model = TextMember(json, "model");
  header_.fingerprint = TextMember(json, "fingerprint");
  DS_ASSIGN(header_.shape.num_experts, IntegerMember(json, "experts"));
  DS_ASSIGN(header_.shape.num_chosen, IntegerMember(json, "experts_per_token"));
  if (!json.contains("layers") || !json["layers"].is_array()) return Fail("layers: expected a list");
  if (json["layers"].size() > kMaxTraceLayers)
    return Fail("layers: expected at most {} of them, found {}", kMaxTraceLayers, json["layers"].size());
  for (const Json& layer : json["layers"]) {
    DS_ASSIGN(const int index, IntegerOf(layer, "layers"));
    header_.shape.layers.push_back(index);
  }
  return CheckTraceHeader(header_);
}

Result<const RoutingStep*> TraceReader::Next() {
  while (!rest_.empty()) {
    if (complete_) return Fail("{}: expected the end after the closing record, found more", file_->path());
    Bytes rest = rest_;
    const char kind = static_cast<char>(rest[0]);
    rest = rest.subspan(1);
    const Result<uint64_t> size = TakeVarint(&rest);
    const Result<Bytes> body = size.ok() ? Take(&rest, *size) : Result<Bytes>(size.status());
    if (!body.ok()) {  // a record that was being written when the writer died
      rest_ = {};
      break;
    }
    rest_ = rest;
    const auto offset = static_cast<size_t>(body->data() - file_->bytes().data());
    const auto context = [&] { return fmt::format("{}: record at byte {}", file_->path(), offset); };
    if (kind == 'S') {
      const Status status = ReadStep(*body);
      if (!status.ok()) return status.WithContext(context());
      return &step_;
    }
    if (kind != 'D' && kind != 'E') continue;
    Bytes pair = *body;
    DS_ASSIGN(const int64_t steps, TakeCount(&pair, "passes", kMost).WithContext(context()));
    DS_ASSIGN(const int64_t rows, TakeCount(&pair, "rows", kMost).WithContext(context()));
    if (kind == 'D') {
      dropped_steps_ += steps;
      dropped_rows_ += rows;
      if (dropped_steps_ > kMost || dropped_rows_ > kMost) return Fail("{}: too many left out", context());
    } else if (steps != num_steps_ || rows != num_rows_) {
      return Fail("{}: expected {} passes and {} rows, as its end says, found {} and {}", file_->path(),
                  steps, rows, num_steps_, num_rows_);
    } else {
      complete_ = true;
    }
  }
  return nullptr;
}

Status TraceReader::ReadStep(Bytes body) {
  DS_ASSIGN(const uint64_t delta, TakeVarint(&body));
  step_.number = last_number_ += delta;
  DS_ASSIGN(step_.num_pass_rows, TakeCount(&body, "rows of the pass", kMost));
  const int64_t selections_of_a_row =
      header_.shape.num_chosen * static_cast<int64_t>(header_.shape.layers.size());
  const int64_t most_rows = std::min(step_.num_pass_rows, kMaxTraceSelections / selections_of_a_row);
  DS_ASSIGN(const int64_t num_rows, TakeCount(&body, "rows that count", most_rows));
  rows_.clear();
  for (auto& experts : experts_) experts.clear();
  for (auto& weights : weights_) weights.clear();
  for (int64_t i = 0; i < num_rows; ++i) {
    RoutedRow row;
    row.row = static_cast<int32_t>(i);
    DS_RETURN_IF_ERROR(ReadRow(&body, &row));
    rows_.push_back(row);
  }
  if (!body.empty()) return Fail("expected the end of the pass, found {} more bytes", body.size());
  for (size_t l = 0; l < layers_.size(); ++l)
    layers_[l] = {header_.shape.layers[l], experts_[l], weights_[l]};
  step_.num_chosen = header_.shape.num_chosen;
  step_.rows = rows_;
  step_.layers = layers_;
  ++num_steps_;
  num_rows_ += num_rows;
  return {};
}

Status TraceReader::ReadRow(Bytes* body, RoutedRow* row) {
  DS_ASSIGN(row->request, TakeVarint(body));
  DS_ASSIGN(const uint64_t jump, TakeVarint(body));
  const int64_t expected = row->request == last_request_ ? next_position_ : 0;
  const int64_t delta = UnZigZag(jump);
  if (delta < -kMost || delta > kMost || expected + delta < 0 || expected + delta > kMost)
    return Fail("position: expected 0 to {}, found a jump of {} from {}", kMost, delta, expected);
  row->position = expected + delta;
  last_request_ = row->request;
  next_position_ = row->position + 1;
  DS_ASSIGN(const int64_t token, TakeCount(body, "token", INT32_MAX));
  row->token = static_cast<int32_t>(token);
  DS_ASSIGN(const Bytes flag_byte, Take(body, 1));
  const int flags = static_cast<int>(flag_byte[0]);
  if (flags > (kTraceGenerated | kTraceLeftOut)) return Fail("flags: expected 0 to 3, found {}", flags);
  row->phase = (flags & kTraceGenerated) != 0 ? RoutingPhase::kDecode : RoutingPhase::kPrefill;
  const auto k = static_cast<size_t>(header_.shape.num_chosen);
  const size_t id_bytes = header_.shape.num_experts > 256 ? 2 : 1;
  for (size_t l = 0; l < experts_.size(); ++l) {
    size_t count = k;
    if ((flags & kTraceLeftOut) != 0) {
      DS_ASSIGN(const Bytes count_byte, Take(body, 1));
      count = static_cast<size_t>(count_byte[0]);
      if (count > k)
        return Fail("layer {}: expected at most {} experts, found {}", header_.shape.layers[l], k, count);
    }
    DS_ASSIGN(const Bytes ids, Take(body, count * id_bytes));
    DS_ASSIGN(const Bytes halves, Take(body, count * 2));
    const auto byte = [](Bytes bytes, size_t i) { return static_cast<uint32_t>(bytes[i]); };
    for (size_t i = 0; i < count; ++i) {
      const uint32_t expert = id_bytes == 1 ? byte(ids, i) : byte(ids, 2 * i) | byte(ids, 2 * i + 1) << 8;
      if (expert >= static_cast<uint32_t>(header_.shape.num_experts))
        return Fail("layer {}: expected experts 0 to {}, found {}", header_.shape.layers[l],
                    header_.shape.num_experts - 1, expert);
      const float weight =
          F16ToF32(static_cast<uint16_t>(byte(halves, 2 * i) | byte(halves, 2 * i + 1) << 8));
      if (!std::isfinite(weight)) return Fail("layer {}: expected finite weights", header_.shape.layers[l]);
      experts_[l].push_back(static_cast<int32_t>(expert));
      weights_[l].push_back(weight);
    }
    experts_[l].resize((static_cast<size_t>(row->row) + 1) * k, -1);
    weights_[l].resize((static_cast<size_t>(row->row) + 1) * k, 0.0f);
  }
  return {};
}

Status TraceReader::Replay(RoutingSink& sink) {
  for (;;) {
    DS_ASSIGN(const RoutingStep* const step, Next());
    if (step == nullptr) return {};
    sink.OnStep(*step);
  }
}

}  // namespace deepshock
