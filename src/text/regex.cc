// SPDX-License-Identifier: Apache-2.0
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <utility>

#include "text/regex_syntax.h"

namespace deepshock {
namespace {

// Steps of backtracking for one match. Published patterns need a few per character of the match.
constexpr uint32_t kMatchLimit = 50'000'000;
constexpr uint32_t kHeapLimitKib = 1 << 20;          // for the interpreter, where it has to take over
constexpr size_t kJitStackBytes = size_t{64} << 20;  // reserved, not touched until needed

std::string Pcre2Message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct RegexScratch::Impl {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = nullptr;  // made when the 32 KiB on the machine stack were not enough
  bool exhausted = false;            // a pattern hit the match limit: this text gets no more matching

  Impl() {
    DS_CHECK(data != nullptr && context != nullptr, "out of memory for a regular expression");
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
  }
  ~Impl() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    if (stack != nullptr) pcre2_jit_stack_free(stack);
  }
};

RegexScratch::RegexScratch() : impl_(std::make_unique<Impl>()) {}
RegexScratch::~RegexScratch() = default;

struct Regex::Impl {
  pcre2_code* code = nullptr;
  bool jitted = false;

  ~Impl() { pcre2_code_free(code); }

  // Number of captures or a PCRE2 error.
  int Match(std::string_view subject, size_t from, RegexScratch::Impl& scratch) const {
    const PCRE2_SPTR text = reinterpret_cast<PCRE2_SPTR>(subject.data());
    if (jitted) {
      int rc = pcre2_jit_match(code, text, subject.size(), from, 0, scratch.data, scratch.context);
      if (rc == PCRE2_ERROR_JIT_STACKLIMIT && scratch.stack == nullptr) {
        scratch.stack = pcre2_jit_stack_create(64 << 10, kJitStackBytes, nullptr);
        if (scratch.stack != nullptr) {
          pcre2_jit_stack_assign(scratch.context, nullptr, scratch.stack);
          rc = pcre2_jit_match(code, text, subject.size(), from, 0, scratch.data, scratch.context);
        }
      }
      if (rc != PCRE2_ERROR_JIT_STACKLIMIT) return rc;
    }
    return pcre2_match(code, text, subject.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.data,
                       scratch.context);
  }
};

Regex::Regex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
bool Regex::is_jitted() const { return impl_->jitted; }

Result<Regex> Regex::Compile(std::string_view pattern) {
  DS_ASSIGN(const std::string translated, OnigurumaToPcre2(pattern));
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  DS_CHECK(context != nullptr, "out of memory for a regular expression");
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  auto impl = std::make_unique<Impl>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  // In Oniguruma's syntax ^ and $ match at every line.
  impl->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                             &offset, context);
  pcre2_compile_context_free(context);
  if (impl->code == nullptr) {
    return Fail("regular expression \"{}\": {} (at byte {} of \"{}\")", pattern, Pcre2Message(error), offset,
                translated);
  }
  impl->jitted = pcre2_jit_compile(impl->code, PCRE2_JIT_COMPLETE) == 0;
  return Regex(std::move(impl));
}

void Regex::FindAll(std::string_view subject, RegexScratch& scratch, std::vector<TextRange>* matches) const {
  matches->clear();
  RegexScratch::Impl& state = *scratch.impl_;
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer(state.data);
  size_t from = 0;
  size_t last_end = std::string_view::npos;
  while (from <= subject.size() && !state.exhausted) {
    const int rc = impl_->Match(subject, from, state);
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {  // the match or heap limit
      state.exhausted = true;
      break;
    }
    const TextRange match{found[0], found[1]};
    // \K inside a lookahead can put the start behind the end; such a pattern finds nothing more.
    if (match.begin > match.end || (last_end != std::string_view::npos && match.begin < last_end)) break;
    if (match.size() == 0 && match.end == last_end) {
      from = match.end + 1;
      while (from < subject.size() && (static_cast<unsigned char>(subject[from]) & 0xc0) == 0x80) ++from;
      continue;
    }
    matches->push_back(match);
    last_end = from = match.end;
  }
}

}  // namespace deepshock
