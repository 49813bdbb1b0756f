// SPDX-License-Identifier: Apache-2.0
#include "runtime/prefix_files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/mapped_file.h"
#include "base/output_file.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".prefix";
constexpr std::chrono::seconds kSilence{30};  // after a failure

// "<16 hex>-<16 hex>.prefix"
bool IsBlockName(std::string_view name) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return name.size() == 33 + kSuffix.size() && name.ends_with(kSuffix) && name[16] == '-' &&
         std::all_of(name.begin(), name.begin() + 16, is_hex) &&
         std::all_of(name.begin() + 17, name.begin() + 33, is_hex);
}

// What a program that was killed left behind: "<block>.partial.PID.N", of a process that is no more.
bool IsLeftOver(std::string_view name) {
  constexpr std::string_view kPartial = ".partial.";
  const size_t at = name.find(kPartial);
  if (at == std::string_view::npos || !IsBlockName(name.substr(0, at))) return false;
  const std::string_view rest = name.substr(at + kPartial.size());
  int pid = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), pid);
  return error == std::errc() && pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH;
}

}  // namespace

Result<std::unique_ptr<PrefixFiles>> PrefixFiles::Open(Options options) {
  std::unique_ptr<PrefixFiles> files(new PrefixFiles(std::move(options)));
  const std::string& folder = files->options_.folder;
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return Fail("{}: cannot make the folder: {}", folder, std::strerror(errno));
  DS_RETURN_IF_ERROR(files->Scan());
  try {
    files->writer_ = std::thread([raw = files.get()] { raw->WriteAll(); });
  } catch (const std::system_error& e) {
    return Fail("{}: cannot start a thread: {}", folder, e.what());
  }
  return files;
}

PrefixFiles::~PrefixFiles() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

Status PrefixFiles::Scan() {
  std::error_code error;
  fs::directory_iterator it(options_.folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (IsLeftOver(name)) ::unlink(it->path().c_str());
    struct stat st{};
    if (!IsBlockName(name) || ::lstat(it->path().c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
    files_[name] = {st.st_size, std::chrono::system_clock::from_time_t(st.st_mtime)};
    bytes_ += st.st_size;
  }
  if (error) return Fail("{}: cannot read the folder: {}", options_.folder, error.message());
  MakeRoom(0);
  return {};
}

std::string PrefixFiles::Name(std::string_view routing_key, std::span<const int32_t> prefix,
                              bool is_end) const {
  uint64_t hash = HashBytes(std::as_bytes(std::span(routing_key)), options_.identity);
  hash = HashBytes(std::as_bytes(prefix), hash + (is_end ? 1 : 0));
  return fmt::format("{:016x}-{:016x}{}", options_.identity, hash, kSuffix);
}

PrefixFileKey PrefixFiles::Key(std::string_view routing_key, std::span<const int32_t> prefix,
                               int64_t num_tokens, bool is_end) const {
  const int64_t groups = (num_tokens + kKvGroup - 1) / kKvGroup;
  return {options_.identity,  routing_key, prefix, num_tokens, is_end, groups * options_.group_bytes,
          options_.vocab_size};
}

void PrefixFiles::Note(const Status& status) { note_ = status.message(); }

void PrefixFiles::Forget(const std::string& name) {
  const auto it = files_.find(name);
  if (it == files_.end()) return;
  bytes_ -= it->second.bytes;
  files_.erase(it);
}

void PrefixFiles::MakeRoom(int64_t bytes) {
  while (bytes_ + bytes > options_.max_bytes && !files_.empty()) {
    const auto oldest =
        std::ranges::min_element(files_, {}, [](const auto& file) { return file.second.used; });
    const std::string name = oldest->first;
    ::unlink(Path(name).c_str());
    Forget(name);
  }
}

std::shared_ptr<const PrefixBlock> PrefixFiles::Load(std::string_view routing_key,
                                                     std::span<const int32_t> prefix, int64_t num_tokens,
                                                     bool is_end) {
  const std::string name = Name(routing_key, prefix, is_end), path = Path(name);
  {
    const std::lock_guard lock(mutex_);
    if (!files_.contains(name)) return nullptr;
  }
  const PrefixFileKey key = Key(routing_key, prefix, num_tokens, is_end);
  const size_t most = kPrefixFileHeader + routing_key.size() + prefix.size_bytes() +
                      static_cast<size_t>(key.data_bytes) +
                      static_cast<size_t>(key.num_logits) * sizeof(float);
  const Result<std::string> bytes = ReadFile(path, most);
  Result<PrefixBlock> block = bytes.ok() ? ParsePrefixFile(std::as_bytes(std::span(*bytes)), key)
                                         : Result<PrefixBlock>(bytes.status());
  const std::lock_guard lock(mutex_);
  if (!block.ok()) {
    Note(block.status().WithContext(path));
    ::unlink(path.c_str());
    Forget(name);
    return nullptr;
  }
  ++hits_;
  const auto it = files_.find(name);
  if (it != files_.end()) it->second.used = std::chrono::system_clock::now();
  ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // a wish: how old it is for the next program
  return std::make_shared<PrefixBlock>(std::move(*block));
}

void PrefixFiles::Save(std::string_view routing_key, std::span<const int32_t> prefix,
                       std::shared_ptr<const PrefixBlock> block) {
  std::string name = Name(routing_key, prefix, block->is_end());
  const int64_t bytes = block->bytes();
  {
    const std::lock_guard lock(mutex_);
    if (files_.contains(name) || waiting_bytes_ + bytes > options_.max_waiting_bytes ||
        bytes > options_.max_bytes || std::chrono::steady_clock::now() < silent_until_) {
      return;
    }
    waiting_bytes_ += bytes;
    waiting_.push_back(
        {std::move(name), std::string(routing_key), {prefix.begin(), prefix.end()}, std::move(block)});
  }
  changed_.notify_all();
}

void PrefixFiles::WriteAll() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const Waiting waiting = std::move(waiting_.front());
    waiting_.pop_front();
    writing_ = true;
    lock.unlock();
    Write(waiting);
    lock.lock();
    waiting_bytes_ -= waiting.block->bytes();
    writing_ = false;
    changed_.notify_all();
  }
}

void PrefixFiles::Write(const Waiting& waiting) {
  const PrefixFileKey key = Key(waiting.routing_key, waiting.prefix,
                                static_cast<int64_t>(waiting.block->tokens.size()), waiting.block->is_end());
  const std::vector<std::byte> bytes = WritePrefixFile(key, *waiting.block);
  const auto size = static_cast<int64_t>(bytes.size());
  {
    const std::lock_guard lock(mutex_);
    if (files_.contains(waiting.name) || size > options_.max_bytes) return;
    MakeRoom(size);
  }
  const Status written = [&]() -> Status {
    DS_ASSIGN(OutputFile file, OutputFile::Create(Path(waiting.name)));
    DS_RETURN_IF_ERROR(file.Write(bytes));
    return file.Commit();
  }();
  const std::lock_guard lock(mutex_);
  if (written.ok()) {
    files_[waiting.name] = {size, std::chrono::system_clock::now()};
    bytes_ += size;
  } else {
    Note(written);
    silent_until_ = std::chrono::steady_clock::now() + kSilence;
  }
}

void PrefixFiles::Flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.empty() && !writing_; });
}

void PrefixFiles::AddStats(EngineStats::PrefixCache* stats) const {
  const std::lock_guard lock(mutex_);
  stats->disk_bytes = bytes_;
  stats->disk_blocks = static_cast<int64_t>(files_.size());
  stats->disk_hits = hits_;
  stats->note = note_;
}

}  // namespace deepshock
