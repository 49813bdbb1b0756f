// SPDX-License-Identifier: Apache-2.0
// Grammars as text, in the notation of llama.cpp's GBNF files (its grammars/README.md):
//   root   ::= "yes" | "no" reason{0,2}     # `root` is what is matched
//   reason ::= [ ] ("because " | [^a-z\n]+)
// Literals and classes know \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH; "." is any character; * + ? {m} {m,}
// {m,n} repeat. A rule goes on until the next "name ::=". Left recursion is refused. Any thread.
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"
#include "grammar/json_schema.h"

namespace deepshock {

Result<std::shared_ptr<const Grammar>> CompileEbnf(std::string_view text,
                                                   int64_t max_steps = kMaxGrammarSteps);

}  // namespace deepshock
