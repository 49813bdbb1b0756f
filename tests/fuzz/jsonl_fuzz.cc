// SPDX-License-Identifier: Apache-2.0
// Batch input: any bytes give records or errors, and each error record is one line of JSON.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/json.h"
#include "data/json_lines.h"
#include "data/prompt_record.h"
#include "data/text_record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  static const int fd = ::memfd_create("jsonl", MFD_CLOEXEC);
  DS_CHECK(::ftruncate(fd, 0) == 0 && ::pwrite(fd, data, size, 0) == static_cast<ssize_t>(size), "memfd");
  ::lseek(fd, 0, SEEK_SET);
  LineReader reader(fd, "fuzz", 4096);
  int64_t last = 0;
  while (const std::optional<InputLine> line = reader.Next()) {
    DS_CHECK(line->number > last, "line numbers rise");
    last = line->number;
    for (const char* field : {"", "messages"}) {
      const Result<TextRecord> text = line->status.ok() ? ParseTextRecord(line->text, field) : line->status;
      DS_CHECK(!text.ok() || text->text.empty() || text->messages.empty(), "a text or messages");
    }
    PromptRecord record;
    const Status status = line->status.ok() ? ParsePromptRecord(line->text, &record) : line->status;
    if (status.ok()) {
      DS_CHECK(record.prompt.has_value() != !record.messages.empty(), "a prompt or messages");
      continue;
    }
    const std::string error = ErrorRecord(0, line->number, record, status.message());
    DS_CHECK(error.find('\n') == std::string::npos, "one line");
    const Result<Json> parsed = ParseJson(error);
    DS_CHECK(parsed.ok() && parsed->contains("error"), "JSON");
  }
  DS_CHECK(reader.status().ok(), "a memfd can be read");
  return 0;
}
