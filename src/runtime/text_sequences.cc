// SPDX-License-Identifier: Apache-2.0
#include "runtime/text_sequences.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "data/json_lines.h"
#include "data/text_record.h"

namespace deepshock {
namespace {

bool Exists(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0;
}

class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Cuts one record into sequences; false once there are enough tokens.
class Cutter {
 public:
  Cutter(int64_t length, int64_t max_tokens) : length_(length), max_tokens_(max_tokens) {}

  bool Add(std::span<const int32_t> tokens) {
    if (max_tokens_ > 0)
      tokens = tokens.first(static_cast<size_t>(
          std::min<int64_t>(static_cast<int64_t>(tokens.size()), max_tokens_ - num_tokens_)));
    for (size_t begin = 0; begin < tokens.size(); begin += static_cast<size_t>(length_)) {
      const auto part = tokens.subspan(begin, std::min(static_cast<size_t>(length_), tokens.size() - begin));
      sequences_.push_back({{part.begin(), part.end()}, record_});
    }
    num_tokens_ += static_cast<int64_t>(tokens.size());
    if (!tokens.empty()) ++record_;
    return max_tokens_ <= 0 || num_tokens_ < max_tokens_;
  }
  std::vector<TokenSequence> Take() { return std::move(sequences_); }

 private:
  int64_t length_, max_tokens_;
  int64_t num_tokens_ = 0, record_ = 0;
  std::vector<TokenSequence> sequences_;
};

Result<std::vector<int32_t>> Encode(const std::string& line, const std::string& field,
                                    const ModelText& text) {
  using OrderedJson = nlohmann::ordered_json;
  DS_ASSIGN(const TextRecord record, ParseTextRecord(line, field));
  if (record.messages.empty()) {
    return record.text.empty() ? std::vector<int32_t>() : text.EncodePrompt(record.text);
  }
  const OrderedJson tools = record.tools.empty() ? OrderedJson() : OrderedJson::parse(record.tools);
  return text.EncodeChat(OrderedJson::parse(record.messages), tools);
}

Status ReadJsonLines(const TextSource& source, const ModelText& text, Cutter* cutter) {
  const OpenFile file(source.path);
  if (file.fd() < 0) return Fail("{}: cannot open: {}", source.path, std::strerror(errno));
  LineReader reader(file.fd(), source.path);
  while (const std::optional<InputLine> line = reader.Next()) {
    const std::string where = fmt::format("{}: line {}", source.path, line->number);
    DS_RETURN_IF_ERROR(line->status.WithContext(where));
    DS_ASSIGN(const std::vector<int32_t> tokens, Encode(line->text, source.field, text).WithContext(where));
    if (!cutter->Add(tokens)) break;
  }
  return reader.status();
}

}  // namespace

TextSource ParseTextSource(const std::string& argument) {
  const size_t colon = argument.rfind(':');
  if (colon == std::string::npos || Exists(argument)) return {argument, ""};
  return {argument.substr(0, colon), argument.substr(colon + 1)};
}

Result<std::vector<int32_t>> ReadTokenFile(const std::string& path) {
  DS_ASSIGN(const auto file, MappedFile::Open(path));
  const size_t size = file->bytes().size();
  if (size % sizeof(int32_t) != 0) return Fail("{}: expected 4 bytes a token, found {} bytes", path, size);
  std::vector<int32_t> tokens(size / sizeof(int32_t));
  if (size > 0) std::memcpy(tokens.data(), file->bytes().data(), size);
  return tokens;
}

Result<std::vector<TokenSequence>> ReadSequences(const TextSource& source, const ModelText* text,
                                                 int64_t length, int64_t max_tokens) {
  DS_CHECK(length > 0, "sequences hold tokens");
  Cutter cutter(length, max_tokens);
  if (source.is_tokens()) {
    if (!source.field.empty()) {
      return Fail("{}: expected no field of a file of tokens, found \"{}\"", source.path, source.field);
    }
    DS_ASSIGN(const std::vector<int32_t> tokens, ReadTokenFile(source.path));
    cutter.Add(tokens);
  } else {
    DS_CHECK(text != nullptr, "text needs a tokenizer");
    DS_RETURN_IF_ERROR(ReadJsonLines(source, *text, &cutter));
  }
  std::vector<TokenSequence> sequences = cutter.Take();
  if (sequences.empty()) return Fail("{}: expected some text, found none", source.path);
  return sequences;
}

int64_t NumTokens(const std::vector<TokenSequence>& sequences) {
  int64_t n = 0;
  for (const TokenSequence& s : sequences) n += static_cast<int64_t>(s.tokens.size());
  return n;
}

}  // namespace deepshock
