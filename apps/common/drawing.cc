// SPDX-License-Identifier: Apache-2.0
#include "apps/common/drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/common/stroke_font.h"
#include "base/output_file.h"
#include "base/utf8.h"

namespace deepshock {
namespace {

std::string Hex(Color c) { return fmt::format("#{:02x}{:02x}{:02x}", c.r, c.g, c.b); }

// Text of an XML element.
std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : ReplaceInvalidUtf8(text)) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

const char* Anchor(Align align) {
  return align == Align::kLeft ? "start" : align == Align::kCenter ? "middle" : "end";
}

}  // namespace

Color HeatColor(double value) {
  constexpr std::array<Color, 6> kStops = {
      {{248, 250, 253}, {205, 222, 240}, {138, 182, 222}, {66, 133, 194}, {26, 82, 148}, {10, 36, 84}}};
  const double at = std::clamp(value, 0.0, 1.0) * (kStops.size() - 1);
  const auto low = std::min(static_cast<size_t>(at), kStops.size() - 2);
  const double part = at - static_cast<double>(low);
  const auto mix = [part](uint8_t a, uint8_t b) {
    return static_cast<uint8_t>(std::lround(a + part * (b - a)));
  };
  const Color a = kStops[low], b = kStops[low + 1];
  return {mix(a.r, b.r), mix(a.g, b.g), mix(a.b, b.b)};
}

Color TextColorOn(Color c) {
  const double luma = 0.299 * c.r + 0.587 * c.g + 0.114 * c.b;
  return luma > 140 ? Color{30, 34, 42} : Color{255, 255, 255};
}

void Drawing::Fill(double x, double y, double w, double h, Color color) {
  shapes_.push_back({Shape::Kind::kFill, x, y, w, h, 0, Align::kLeft, color, ""});
}

void Drawing::Frame(double x, double y, double w, double h, double line, Color color) {
  shapes_.push_back({Shape::Kind::kFrame, x, y, w, h, line, Align::kLeft, color, ""});
}

void Drawing::Text(double x, double y, std::string_view text, double size, Align align, Color color) {
  shapes_.push_back({Shape::Kind::kText, x, y, 0, 0, size, align, color, std::string(text)});
}

double Drawing::TextWidth(std::string_view text, double size) { return LayOutStrokes(text).width * size; }

std::string Drawing::ToSvg() const {
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
      width_, height_);
  for (const Shape& s : shapes_) {
    switch (s.kind) {
      case Shape::Kind::kFill:
        svg +=
            fmt::format("<rect x=\"{:.4g}\" y=\"{:.4g}\" width=\"{:.4g}\" height=\"{:.4g}\" fill=\"{}\"/>\n",
                        s.x, s.y, s.w, s.h, Hex(s.color));
        break;
      case Shape::Kind::kFrame:
        svg += fmt::format(
            "<rect x=\"{:.4g}\" y=\"{:.4g}\" width=\"{:.4g}\" height=\"{:.4g}\" fill=\"none\" stroke=\"{}\" "
            "stroke-width=\"{:.4g}\"/>\n",
            s.x + s.line / 2, s.y + s.line / 2, s.w - s.line, s.h - s.line, Hex(s.color), s.line);
        break;
      case Shape::Kind::kText:
        svg += fmt::format(
            "<text x=\"{:.4g}\" y=\"{:.4g}\" font-size=\"{:.4g}\" text-anchor=\"{}\" fill=\"{}\">{}</text>\n",
            s.x, s.y, s.line, Anchor(s.align), Hex(s.color), Escape(s.text));
        break;
    }
  }
  return svg + "</svg>\n";
}

Status CheckPlotName(const std::string& path) {
  if (path.empty() || path.ends_with(".svg") || path.ends_with(".png")) return {};
  return Fail("expected a name that ends in .svg or .png, found \"{}\"", path);
}

Status WritePlot(const Drawing& drawing, const std::string& path) {
  DS_RETURN_IF_ERROR(CheckPlotName(path));
  std::string bytes;
  if (path.ends_with(".svg")) {
    bytes = drawing.ToSvg();
  } else {
    DS_ASSIGN(bytes, drawing.ToPng().WithContext(path));
  }
  DS_ASSIGN(OutputFile file, OutputFile::Create(path));
  DS_RETURN_IF_ERROR(file.Write(bytes));
  return file.Commit();
}

}  // namespace deepshock
