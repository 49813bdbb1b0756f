// SPDX-License-Identifier: Apache-2.0
#include "apps/deepseek_infer/batch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "apps/common/program.h"
#include "apps/common/records.h"
#include "apps/common/terminal.h"
#include "base/output_file.h"
#include "data/json_lines.h"

namespace deepshock {
namespace {

constexpr const char* kProgram = "deepseek-infer";

bool IsStandard(const std::string& path) { return path.empty() || path == "-"; }

class Input {
 public:
  ~Input() {
    if (fd_ > STDERR_FILENO) ::close(fd_);
  }
  Status Open(const std::string& path) {
    if (IsStandard(path)) {
      if (::isatty(STDIN_FILENO) == 1)
        return Fail("no input: give --prompt TEXT or --input FILE.jsonl, or pipe JSON lines");
      fd_ = STDIN_FILENO;
      return {};
    }
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) return Fail("{}: cannot open: {}", path, std::strerror(errno));
    return {};
  }
  int fd() const { return fd_; }

  // For the progress bar; 0 when it cannot be told without reading the input.
  int64_t CountLines() const {
    struct stat st;
    if (::fstat(fd_, &st) != 0 || !S_ISREG(st.st_mode)) return 0;
    const off_t start = ::lseek(fd_, 0, SEEK_CUR);
    if (start < 0) return 0;
    std::vector<char> buffer(1 << 20);
    int64_t num_lines = 0;
    bool in_line = false;  // past something that is no white space
    for (off_t offset = start;;) {
      const ssize_t n = ::pread(fd_, buffer.data(), buffer.size(), offset);
      if (n <= 0) break;
      offset += n;
      for (ssize_t i = 0; i < n; ++i) {
        const char c = buffer[static_cast<size_t>(i)];
        if (c == '\n') {
          num_lines += in_line ? 1 : 0;
          in_line = false;
        } else if (c != ' ' && c != '\t' && c != '\r') {
          in_line = true;
        }
      }
    }
    return num_lines + (in_line ? 1 : 0);
  }

 private:
  int fd_ = -1;
};

class BatchRun {
 public:
  BatchRun(Engine& engine, const BatchOptions& options, int fd, int64_t total)
      : engine_(engine),
        options_(options),
        reader_(fd, IsStandard(options.input) ? "stdin" : options.input),
        progress_(kProgram, total, options.quiet) {}

  Result<int> Run() {
    if (!IsStandard(options_.output)) {
      DS_ASSIGN(OutputFile file, OutputFile::Create(options_.output));
      file_.emplace(std::move(file));
    }
    bool more_input = true;
    do {
      // A bound on what is held in order, too.
      const int64_t ahead = options_.ahead * static_cast<int64_t>(options_.batch_size);
      while (more_input && !Interrupted() && engine_.num_requests() < ahead &&
             next_index_ - next_written_ < std::max<int64_t>(4096, 8 * ahead)) {
        more_input = Admit();
      }
      if (Interrupted()) return Interrupt();
      engine_.Step();
      DS_RETURN_IF_ERROR(WriteFinished());
    } while (more_input || engine_.num_requests() > 0);
    DS_RETURN_IF_ERROR(WriteFinished());
    DS_RETURN_IF_ERROR(reader_.status());
    if (file_) DS_RETURN_IF_ERROR(file_->Commit());
    progress_.Finish();
    PrintSummary();
    return 0;
  }

 private:
  // Reads one line and submits it; false at the end of the input.
  bool Admit() {
    std::optional<InputLine> line = reader_.Next();
    if (!line) return false;
    const int64_t index = next_index_++;
    const int64_t number = line->number;
    PromptRecord record;
    GenerationRequest request = options_.defaults;
    Status status = line->status;
    if (status.ok()) status = ParsePromptRecord(line->text, &record);
    if (status.ok()) status = ApplyRecord(record, engine_, options_.chat, &request);
    if (!status.ok()) {
      ++num_errors_;
      finished_[index] = ErrorRecord(index, number, record, status.message());
      return true;
    }
    const bool sampled = request.sampling.temperature > 0;
    request.on_token = [this](const StreamedToken& token) {
      if (token.token >= 0) ++num_output_tokens_;
      return true;
    };
    request.on_done = [this, index, number, sampled, record = std::move(record)](GenerationResult result) {
      num_prompt_tokens_ += result.prompt_tokens;
      if (!result.status.ok()) {
        ++num_errors_;
        finished_[index] = ErrorRecord(index, number, record, result.status.message());
      } else {
        finished_[index] = ResultRecord(index, record, engine_, result, sampled);
      }
    };
    engine_.Submit(std::move(request));
    return true;
  }

  // Writes the records whose turn it is.
  Status WriteFinished() {
    std::string lines;
    for (auto it = finished_.begin(); it != finished_.end() && it->first == next_written_;
         it = finished_.erase(it)) {
      lines += it->second + "\n";
      ++next_written_;
    }
    if (!lines.empty()) DS_RETURN_IF_ERROR(file_ ? file_->Write(lines) : WriteStdout(lines));
    const int64_t num_done = next_written_ + static_cast<int64_t>(finished_.size());
    progress_.Update(num_done,
                     fmt::format("{:.1f} tokens/s", static_cast<double>(num_output_tokens_) / Seconds()));
    return {};
  }

  int Interrupt() {
    progress_.Finish();
    std::fprintf(stderr, "%s: interrupted after %lld of the records%s\n", kProgram,
                 static_cast<long long>(next_written_), file_ ? "; the output file was not written" : "");
    return kExitInterrupted;
  }

  double Seconds() const {
    return std::max(1e-9, std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
  }

  void PrintSummary() const {
    if (options_.quiet && num_errors_ == 0) return;
    const std::string text =
        fmt::format("{} records, {} of them errors; {} prompt and {} generated tokens in {}, {:.1f} tokens/s",
                    next_index_, num_errors_, num_prompt_tokens_, num_output_tokens_,
                    FormatSeconds(Seconds()), static_cast<double>(num_output_tokens_) / Seconds());
    std::fprintf(stderr, "%s: %s\n", kProgram, text.c_str());
  }

  Engine& engine_;
  const BatchOptions& options_;
  LineReader reader_;
  Progress progress_;
  std::optional<OutputFile> file_;
  std::map<int64_t, std::string> finished_;  // by index, waiting for those before them
  int64_t next_index_ = 0;
  int64_t next_written_ = 0;
  int64_t num_errors_ = 0;
  int64_t num_prompt_tokens_ = 0;
  int64_t num_output_tokens_ = 0;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace

Result<int> RunBatch(Engine& engine, const BatchOptions& options) {
  Input input;
  DS_RETURN_IF_ERROR(input.Open(options.input));
  return BatchRun(engine, options, input.fd(), options.quiet ? 0 : input.CountLines()).Run();
}

}  // namespace deepshock
