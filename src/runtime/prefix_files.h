// SPDX-License-Identifier: Apache-2.0
// PrefixFiles: a prefix cache's blocks in a folder, one file each, written beside and renamed by a thread of
// its own, read on the caller's. Files are named by identity and content, so programs may share a folder.
// Whatever is damaged is deleted, whatever belongs to others is left alone; when the disk is full or fails,
// nothing is written for a while and a note says why. The oldest files go when the folder reaches its bound.
// Prompts can be read out of the files: the folder is made for its owner only. Load, Save and AddStats on one
// thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/prefix_file.h"

namespace deepshock {

class PrefixFiles final : public PrefixStore {
 public:
  struct Options {
    std::string folder;
    uint64_t identity = 0;
    int64_t max_bytes = 0;
    int64_t group_bytes = 0;  // of 32 tokens, in all layers that are kept
    int64_t vocab_size = 0;
    int64_t max_waiting_bytes = int64_t{128} << 20;  // more is not written
  };
  // Makes the folder where there is none; fails when that or reading it fails.
  static Result<std::unique_ptr<PrefixFiles>> Open(Options options);
  // Writes what waits.
  ~PrefixFiles() override;

  std::shared_ptr<const PrefixBlock> Load(std::string_view routing_key, std::span<const int32_t> prefix,
                                          int64_t num_tokens, bool is_end) override;
  void Save(std::string_view routing_key, std::span<const int32_t> prefix,
            std::shared_ptr<const PrefixBlock> block) override;
  void AddStats(EngineStats::PrefixCache* stats) const override;
  // Until all that was saved is on disk or given up.
  void Flush();

 private:
  using Age = std::chrono::system_clock::time_point;
  struct Entry {
    int64_t bytes = 0;
    Age used;
  };
  struct Waiting {
    std::string name, routing_key;
    std::vector<int32_t> prefix;
    std::shared_ptr<const PrefixBlock> block;
  };
  explicit PrefixFiles(Options options) : options_(std::move(options)) {}
  Status Scan();
  std::string Name(std::string_view routing_key, std::span<const int32_t> prefix, bool is_end) const;
  std::string Path(const std::string& name) const { return options_.folder + "/" + name; }
  PrefixFileKey Key(std::string_view routing_key, std::span<const int32_t> prefix, int64_t num_tokens,
                    bool is_end) const;
  void WriteAll();
  void Write(const Waiting& waiting);
  // With mutex_ held.
  void Note(const Status& status);
  void Forget(const std::string& name);
  void MakeRoom(int64_t bytes);

  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Entry> files_;  // those of any identity, by name
  int64_t bytes_ = 0, waiting_bytes_ = 0, hits_ = 0;
  std::deque<Waiting> waiting_;
  bool writing_ = false, closing_ = false;
  std::chrono::steady_clock::time_point silent_until_{};
  std::string note_;
  std::thread writer_;
};

}  // namespace deepshock
