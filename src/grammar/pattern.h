// SPDX-License-Identifier: Apache-2.0
// Regular expressions as JSON Schema writes them (ECMA-262 with the u flag), as automata over the bytes of
// what they match. Groups, alternatives, counted repetition, classes, the escapes \d \w \s \t \n \r \f \v \0
// \cX \xHH
// \uHHHH \u{H...}, and "^" and "$" at the ends of an alternative. Refused by name: look-around, back
// references,
// \b, \p{...} and anchors elsewhere.
#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/automaton.h"
#include "grammar/code_points.h"

namespace deepshock {

constexpr int kMaxPatternDepth = 64;
constexpr int64_t kMaxRepeats = 20000;

// Adds what the pattern matches between two states. Searching: the pattern may match anywhere in the text, as
// in JSON Schema, unless it is anchored; else it must match the whole text.
Status AddPattern(Nfa* nfa, uint32_t from, std::string_view pattern, bool searching, Spelling spelling,
                  uint32_t to);

}  // namespace deepshock
