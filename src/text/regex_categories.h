// SPDX-License-Identifier: Apache-2.0
// Unicode's general categories as patterns name them. For regex_syntax.cc.
#pragma once

namespace deepshock {

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
