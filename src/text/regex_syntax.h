// SPDX-License-Identifier: Apache-2.0
// Rewrites a regular expression from Oniguruma's syntax (what tokenizer.json patterns are written in, because
// Hugging Face tokenizers compiles them with it) into PCRE2's. The two differ where it matters for token
// boundaries: "\h", "\w", "\b", "^", "$", "(?m)", "{n,m}+", "[a&&b]", POSIX brackets, script names.
// Refuses what it cannot express exactly, naming it.
// Oniguruma's rules: its doc/RE and doc/SYNTAX.md; PCRE2's: pcre2pattern(3).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace deepshock {

Result<std::string> OnigurumaToPcre2(std::string_view pattern);

// The pattern that matches `literal` and nothing else.
std::string EscapeRegex(std::string_view literal);

}  // namespace deepshock
