// SPDX-License-Identifier: Apache-2.0
// Text as Python's str sees it: code points, white space, case, splitting, numbers in text and back.
// Pure functions over valid UTF-8; they know nothing of templates. The caller bounds the sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deepshock::jinja {

bool IsSpace(uint32_t code_point);  // str.isspace
bool IsAlpha(uint32_t code_point);  // str.isalpha
bool IsDecimal(uint32_t code_point);
bool IsNumeric(uint32_t code_point);
bool IsUpper(uint32_t code_point);
bool IsLower(uint32_t code_point);
bool IsWordCharacter(uint32_t code_point);  // \w

std::vector<uint32_t> CodePoints(std::string_view text);
std::string FromCodePoints(const std::vector<uint32_t>& code_points);
size_t CountCharacters(std::string_view text);
// Byte offset of each character and, last, of the end.
std::vector<size_t> CharacterOffsets(std::string_view text);

enum class Side { kLeft, kRight, kBoth };
// Without `chars`: white space; otherwise any character of it.
std::string_view Strip(std::string_view text, std::optional<std::string_view> chars, Side side);

// max_splits < 0: all. Runs of white space separate, as str.split() does.
std::vector<std::string_view> SplitWords(std::string_view text, int64_t max_splits, bool from_right);
// `separator` is not empty.
std::vector<std::string_view> SplitOn(std::string_view text, std::string_view separator, int64_t max_splits,
                                      bool from_right);
std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);
size_t CountOccurrences(std::string_view text, std::string_view part);  // not overlapping

std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Capitalize(std::string_view text);
std::string Title(std::string_view text);  // str.title, not the filter
std::string SwapCase(std::string_view text);

std::string EscapeHtml(std::string_view text);

// repr(float): the shortest digits that read back, always with a point or an exponent.
std::string FloatRepr(double value);
// repr(str)
std::string TextRepr(std::string_view text);

// int(text, base) and float(text); nothing where Python raises ValueError or the integer leaves 64 bits.
std::optional<int64_t> ParseInt(std::string_view text, int64_t base);
std::optional<double> ParseFloat(std::string_view text);

}  // namespace deepshock::jinja
