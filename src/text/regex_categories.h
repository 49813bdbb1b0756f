// SPDX-License-Identifier: Apache-2.0
// Unicode's general categories as patterns name them, and the sets of characters behind \w and \h. For
// regex_syntax.cc.
#pragma once

namespace deepshock {

// Members of a class, ready to stand inside PCRE2's [...].
// Oniguruma's \w: alphabetic, marks, decimal digits, connectors.
inline constexpr char kWord[] =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}"
    "\\x{1f170}-\\x{1f189}";
// Outside a class it goes by a table of Latin-1, which counts these too.
inline constexpr char kLatin1Word[] = "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
inline constexpr char kHexDigit[] = "0-9A-Fa-f";

// General categories with the long names that \p{...} also takes.
struct Category {
  const char* name;
  const char* long_name;
};
// clang-format off
inline constexpr Category kCategories[] = {
    {"L", "letter"}, {"Lu", "uppercaseletter"}, {"Ll", "lowercaseletter"}, {"Lt", "titlecaseletter"},
    {"Lm", "modifierletter"}, {"Lo", "otherletter"}, {"M", "mark"}, {"Mn", "nonspacingmark"},
    {"Mc", "spacingmark"}, {"Me", "enclosingmark"}, {"N", "number"}, {"Nd", "decimalnumber"},
    {"Nl", "letternumber"}, {"No", "othernumber"}, {"P", "punctuation"}, {"Pc", "connectorpunctuation"},
    {"Pd", "dashpunctuation"}, {"Ps", "openpunctuation"}, {"Pe", "closepunctuation"},
    {"Pi", "initialpunctuation"}, {"Pf", "finalpunctuation"}, {"Po", "otherpunctuation"}, {"S", "symbol"},
    {"Sm", "mathsymbol"}, {"Sc", "currencysymbol"}, {"Sk", "modifiersymbol"}, {"So", "othersymbol"},
    {"Z", "separator"}, {"Zs", "spaceseparator"}, {"Zl", "lineseparator"}, {"Zp", "paragraphseparator"},
    {"C", "other"}, {"Cc", "control"}, {"Cf", "format"}, {"Cs", "surrogate"}, {"Co", "privateuse"},
    {"Cn", "unassigned"},
};
// clang-format on

}  // namespace deepshock
