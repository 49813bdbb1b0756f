// SPDX-License-Identifier: Apache-2.0
// Small drawings of rectangles and text for plots, written as SVG or PNG. One list of shapes serves both, so
// they show the same. Text in a PNG is drawn with a stroke font of our own (stroke_font.h): a server needs no
// fonts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace deepshock {

struct Color {
  uint8_t r = 0, g = 0, b = 0;
};

// From white (0) through blue to near black (1): even in lightness, fit for print and for colour-blind eyes.
Color HeatColor(double value);
// Black or white, whichever reads better on the colour.
Color TextColorOn(Color background);

enum class Align { kLeft, kCenter, kRight };

class Drawing {
 public:
  Drawing(double width, double height) : width_(width), height_(height) {}

  void Fill(double x, double y, double w, double h, Color color);
  // The line lies inside of the rectangle.
  void Frame(double x, double y, double w, double h, double line, Color color);
  // `y` is the baseline; `size` the height of the letters' box in pixels, as CSS font-size.
  void Text(double x, double y, std::string_view text, double size, Align align = Align::kLeft,
            Color color = {40, 44, 52});

  std::string ToSvg() const;
  // Twice as many pixels each way as the drawing's units.
  Result<std::string> ToPng() const;

  // About how wide text is.
  static double TextWidth(std::string_view text, double size);

 private:
  struct Shape {
    enum class Kind { kFill, kFrame, kText } kind;
    double x, y, w, h;
    double line;  // of a frame, or a text's size
    Align align;
    Color color;
    std::string text;
  };

  double width_, height_;
  std::vector<Shape> shapes_;
};

// Fails unless the name ends in .svg or .png; empty is fine (no plot).
Status CheckPlotName(const std::string& path);
// As its name says; beside its name, then renamed.
Status WritePlot(const Drawing& drawing, const std::string& path);

}  // namespace deepshock
