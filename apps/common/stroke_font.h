// SPDX-License-Identifier: Apache-2.0
// A stroke font for text in PNG plots: every letter is a few pen strokes on a grid, drawn with a round pen.
// ASCII; anything else shows as a box.
#pragma once

#include <string_view>
#include <vector>

namespace deepshock {

struct StrokePoint {
  double x = 0, y = 0;
};
using Stroke = std::vector<StrokePoint>;

// In units of the font's size; x from 0 on, y = 0 at the baseline, negative above it.
struct StrokeText {
  std::vector<Stroke> strokes;
  double width = 0;
};
StrokeText LayOutStrokes(std::string_view text);

// The pen's width for a font size of 1.
inline constexpr double kPenWidth = 0.085;

}  // namespace deepshock
