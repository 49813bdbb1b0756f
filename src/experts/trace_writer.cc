// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/check.h"
#include "base/json.h"
#include "experts/trace.h"
#include "experts/trace_format.h"
#include "tensor/codec_float.h"

namespace deepshock {
namespace {

constexpr size_t kHandBytes = 64 << 10;                // to the thread at once
constexpr std::chrono::milliseconds kHandPeriod(500);  // or what there is, so often

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void AppendRecord(char kind, const std::string& body, std::string* out) {
  out->push_back(kind);
  AppendVarint(body.size(), out);
  *out += body;
}

void AppendPair(char kind, int64_t steps, int64_t rows, std::string* out) {
  std::string body;
  AppendVarint(static_cast<uint64_t>(steps), &body);
  AppendVarint(static_cast<uint64_t>(rows), &body);
  AppendRecord(kind, body, out);
}

}  // namespace

Result<std::unique_ptr<TraceWriter>> TraceWriter::Create(const std::string& path, const TraceHeader& header,
                                                         std::function<void(const Status&)> on_failure,
                                                         size_t max_buffer) {
  DS_RETURN_IF_ERROR(CheckTraceHeader(header).WithContext(path));
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return Fail("{}: cannot create: {}", path, std::strerror(errno));
  return std::unique_ptr<TraceWriter>(new TraceWriter(path, fd, header, std::move(on_failure), max_buffer));
}

TraceWriter::TraceWriter(std::string path, int fd, const TraceHeader& header,
                         std::function<void(const Status&)> on_failure, size_t max_buffer)
    : path_(std::move(path)),
      fd_(fd),
      header_(header),
      on_failure_(std::move(on_failure)),
      max_buffer_(max_buffer),
      handed_(Clock::now()) {
  const nlohmann::ordered_json json = {{"model", header.model},
                                       {"fingerprint", header.fingerprint},
                                       {"experts", header.shape.num_experts},
                                       {"experts_per_token", header.shape.num_chosen},
                                       {"layers", header.shape.layers}};
  const std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  pending_ = kTraceMagic;
  AppendVarint(text.size(), &pending_);
  pending_ += text;
  thread_ = std::thread([this] { Write(); });
}

TraceWriter::~TraceWriter() { (void)Close(); }

Status TraceWriter::WriteBytes(const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const Status status = Fail("{}: cannot write: {}", path_, std::strerror(errno));
      // Whole records only; where that cannot be (a pipe), the reader finds out by itself.
      if (::ftruncate(fd_, written_bytes_) != 0) return status;
      return status;
    }
    done += static_cast<size_t>(n);
  }
  written_bytes_ += static_cast<int64_t>(bytes.size());
  return {};
}

void TraceWriter::Write() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || !pending_.empty(); });
    if (pending_.empty() || !status_.ok()) {
      pending_.clear();
      if (stop_) return;
      continue;
    }
    writing_.clear();
    writing_.swap(pending_);
    lock.unlock();
    Status status = WriteBytes(writing_);
    lock.lock();
    if (!status.ok()) status_ = std::move(status);
  }
}

bool TraceWriter::Hand() {
  handed_ = Clock::now();
  bool has_room = false;
  {
    const std::lock_guard lock(mutex_);
    if (!status_.ok()) {
      failed_ = true;
    } else if (pending_.size() + batch_.size() <= max_buffer_) {
      has_room = true;
      pending_ += batch_;
    }
  }
  if (failed_) TellFailure();
  if (!has_room) return false;
  batch_.clear();
  wake_.notify_one();
  return true;
}

void TraceWriter::TellFailure() {
  if (told_) return;
  told_ = true;
  if (on_failure_) on_failure_(status_);
}

void TraceWriter::AppendRow(const RoutingStep& step, const RoutedRow& row) {
  AppendVarint(row.request, &body_);
  const int64_t expected = row.request == last_request_ ? next_position_ : 0;
  AppendVarint(ZigZag(row.position - expected), &body_);
  last_request_ = row.request;
  next_position_ = row.position + 1;
  AppendVarint(static_cast<uint64_t>(static_cast<uint32_t>(row.token)), &body_);
  const auto is_left_out = [](int32_t expert) { return expert < 0; };
  const bool some_left_out = std::any_of(step.layers.begin(), step.layers.end(), [&](const LayerRouting& l) {
    return std::ranges::any_of(step.Experts(l, row), is_left_out);
  });
  const int generated = row.phase == RoutingPhase::kDecode ? kTraceGenerated : 0;
  body_.push_back(static_cast<char>(generated | (some_left_out ? kTraceLeftOut : 0)));
  const bool wide = header_.shape.num_experts > 256;
  for (const LayerRouting& layer : step.layers) {
    auto experts = step.Experts(layer, row);
    experts =
        experts.first(static_cast<size_t>(std::ranges::find_if(experts, is_left_out) - experts.begin()));
    if (some_left_out) body_.push_back(static_cast<char>(experts.size()));
    for (const int32_t expert : experts) {
      body_.push_back(static_cast<char>(expert));
      if (wide) body_.push_back(static_cast<char>(expert >> 8));
    }
    for (const float weight : step.Weights(layer, row).first(experts.size())) {
      const uint16_t half = F32ToF16(weight);
      body_.push_back(static_cast<char>(half));
      body_.push_back(static_cast<char>(half >> 8));
    }
  }
}

void TraceWriter::OnStep(const RoutingStep& step) {
  if (failed_ || closed_) return;
  DS_CHECK(step.num_chosen == header_.shape.num_chosen && step.layers.size() == header_.shape.layers.size(),
           "the trace's model");
  const auto num_rows = static_cast<int64_t>(step.rows.size());
  const bool due = batch_.size() >= kHandBytes || Clock::now() - handed_ >= kHandPeriod;
  const bool has_room = !due || Hand() || batch_.size() < kHandBytes;
  if (failed_) return;
  if (!has_room || num_rows * header_.shape.num_chosen * static_cast<int64_t>(header_.shape.layers.size()) >
                       kMaxTraceSelections) {
    ++gap_steps_;
    gap_rows_ += num_rows;
    num_dropped_rows_ += num_rows;
    return;
  }
  if (gap_steps_ > 0) AppendPair('D', gap_steps_, gap_rows_, &batch_);
  gap_steps_ = gap_rows_ = 0;
  body_.clear();
  AppendVarint(step.number - last_number_, &body_);
  last_number_ = step.number;
  AppendVarint(static_cast<uint64_t>(step.num_pass_rows), &body_);
  AppendVarint(static_cast<uint64_t>(num_rows), &body_);
  for (const RoutedRow& row : step.rows) AppendRow(step, row);
  AppendRecord('S', body_, &batch_);
  ++num_steps_;
  num_rows_ += num_rows;
}

Status TraceWriter::Close() {
  if (closed_) return status_;
  closed_ = true;
  if (gap_steps_ > 0) AppendPair('D', gap_steps_, gap_rows_, &batch_);
  AppendPair('E', num_steps_, num_rows_, &batch_);
  {
    const std::lock_guard lock(mutex_);
    pending_ += batch_;
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
  if (::close(fd_) != 0 && status_.ok()) status_ = Fail("{}: cannot close: {}", path_, std::strerror(errno));
  if (!status_.ok()) TellFailure();
  return status_;
}

}  // namespace deepshock
