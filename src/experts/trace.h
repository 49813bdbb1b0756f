// SPDX-License-Identifier: Apache-2.0
// Route traces: which experts every token took, in a compact file that can be recorded in production.
//
// The file, little-endian; "varint" is LEB128 (7 bits a byte, lowest first, the top bit says that more
// follow):
//   8 bytes  "DSROUTE1"
//   varint   bytes of the header, then the header: JSON {"model", "fingerprint", "experts" E,
//            "experts_per_token" K, "layers": [layer index, ...] ascending}; other members are ignored
//   records, each: 1 byte kind, varint bytes of its body, body
//     'S' a pass of the model:
//         varint pass number minus the last record's (the first: itself)
//         varint rows computed in it, varint rows that count, then for each of these:
//           varint request
//           varint (zigzag) position minus (the position of the row before it + 1, where that is of the same
//                  request; else 0)
//           varint token
//           1 byte flags: bit 0 generated (else prompt); bit 1 experts were left out
//           for each layer: [1 byte n <= K, where experts were left out, else n = K],
//             n expert ids (1 byte each while E <= 256, else 2), n weights (F16)
//     'D' passes that the disk was too slow for: varint passes, varint rows
//     'E' the end: varint passes, varint rows. A trace without it was cut off: the process died, or the disk
//         was full.
//   A reader skips kinds it does not know.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "experts/routing_sink.h"

namespace deepshock {

struct TraceHeader {
  std::string model;
  std::string fingerprint;  // of the model (RouterSigns); empty: not known
  RoutingShape shape;
};

// Writes a trace as the model runs. OnStep only encodes into memory; a thread of its own writes. The memory
// is bounded: when the disk falls behind, passes are left out and counted. When writing fails, tracing stops,
// `on_failure` is told once, from OnStep or Close, and what was written before stays readable.
class TraceWriter final : public RoutingSink {
 public:
  static constexpr size_t kMaxBufferBytes = 32 << 20;

  // An existing file is replaced. `max_buffer` is smaller in tests.
  static Result<std::unique_ptr<TraceWriter>> Create(const std::string& path, const TraceHeader& header,
                                                     std::function<void(const Status&)> on_failure,
                                                     size_t max_buffer = kMaxBufferBytes);
  ~TraceWriter() override;  // closes

  void OnStep(const RoutingStep& step) override;
  // Writes what is left and the end. Fails when any write failed.
  Status Close();

  int64_t num_steps() const { return num_steps_; }  // in the trace
  int64_t num_rows() const { return num_rows_; }
  int64_t num_dropped_rows() const { return num_dropped_rows_; }

 private:
  TraceWriter(std::string path, int fd, const TraceHeader& header,
              std::function<void(const Status&)> on_failure, size_t max_buffer);
  void Write();  // the thread
  Status WriteBytes(const std::string& bytes);
  bool Hand();  // the batch to the thread; false when there is no room, or writing has failed
  void TellFailure();
  void AppendRow(const RoutingStep& step, const RoutedRow& row);

  using Clock = std::chrono::steady_clock;
  std::string path_;
  int fd_;
  TraceHeader header_;
  std::function<void(const Status&)> on_failure_;
  size_t max_buffer_;
  bool failed_ = false, told_ = false, closed_ = false;
  uint64_t last_number_ = 0;
  int64_t num_steps_ = 0, num_rows_ = 0, num_dropped_rows_ = 0;
  int64_t gap_steps_ = 0, gap_rows_ = 0;  // left out since the last record
  std::string body_, batch_;              // of a record; whole records not handed over yet
  Clock::time_point handed_;
  uint64_t last_request_ = 0;
  int64_t next_position_ = 0;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::string pending_;  // for the thread to write
  bool stop_ = false;
  Status status_;        // of writing; of the first failure, which ends it
  std::string writing_;  // the thread's own
  int64_t written_bytes_ = 0;
  std::thread thread_;  // started last
};

// Reads a trace, of which every byte is checked before it is used. One thread.
class TraceReader {
 public:
  static Result<std::unique_ptr<TraceReader>> Open(const std::string& path);

  const TraceHeader& header() const { return header_; }
  // The next pass; null at the end. Its views are valid until the next call; its rows are those that count
  // and nothing else, so that row i is row i of each layer.
  Result<const RoutingStep*> Next();
  // Hands all passes that are left to `sink`.
  Status Replay(RoutingSink& sink);

  // After the last pass: whether the writer closed the file, and what it left out on the way.
  bool complete() const { return complete_; }
  int64_t num_dropped_steps() const { return dropped_steps_; }
  int64_t num_dropped_rows() const { return dropped_rows_; }

 private:
  TraceReader() = default;
  Status ReadHeader();
  Status ReadStep(std::span<const std::byte> body);
  Status ReadRow(std::span<const std::byte>* body, RoutedRow* row);

  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> rest_;
  TraceHeader header_;
  bool complete_ = false;
  int64_t dropped_steps_ = 0, dropped_rows_ = 0, num_steps_ = 0, num_rows_ = 0;
  uint64_t last_number_ = 0, last_request_ = 0;
  int64_t next_position_ = 0;
  RoutingStep step_;
  std::vector<RoutedRow> rows_;
  std::vector<LayerRouting> layers_;
  std::vector<std::vector<int32_t>> experts_;  // [layers][T, K]
  std::vector<std::vector<float>> weights_;
};

}  // namespace deepshock
