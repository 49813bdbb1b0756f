// SPDX-License-Identifier: Apache-2.0
#include "base/line_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>

namespace deepshock {
namespace {

constexpr double kWidth = 720, kHeight = 420, kLeft = 70, kRight = 150, kTop = 40, kBottom = 56;
// Distinct for people who do not tell red from green (Okabe and Ito 2008).
constexpr std::array<const char*, 6> kColors = {"#0072b2", "#d55e00", "#009e73",
                                                "#cc79a7", "#e69f00", "#56b4e9"};

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out += c;
    }
  }
  return out;
}

// 1, 2 or 5 times a power of ten, so that about five of them make the range.
double TickStep(double range) {
  const double raw = range / 5, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power * 1.0001) return factor * power;
  }
  return 10 * power;
}

}  // namespace

std::string LinePlot::ToSvg() const {
  double x_min = std::numeric_limits<double>::max(), x_max = std::numeric_limits<double>::lowest();
  for (const Series& s : series) {
    for (const auto& [x, y] : s.points) {
      x_min = std::min(x_min, x);
      x_max = std::max(x_max, x);
    }
  }
  if (x_min > x_max) x_min = 0, x_max = 1;
  if (x_min == x_max) x_max = x_min + 1;
  const double plot_width = kWidth - kLeft - kRight, plot_height = kHeight - kTop - kBottom;
  const auto to_x = [&](double x) { return kLeft + (x - x_min) / (x_max - x_min) * plot_width; };
  const auto to_y = [&](double y) {
    return kTop + plot_height - (std::clamp(y, y_min, y_max) - y_min) / (y_max - y_min) * plot_height;
  };

  std::string svg;
  auto out = std::back_inserter(svg);
  fmt::format_to(out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" "
                 "font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
                 "<text x=\"{}\" y=\"24\" font-size=\"15\">{}</text>\n",
                 kWidth, kHeight, kLeft, Escaped(title));
  const double y_step = TickStep(y_max - y_min), x_step = TickStep(x_max - x_min);
  for (double y = std::ceil(y_min / y_step) * y_step; y <= y_max + y_step / 1e6; y += y_step) {
    fmt::format_to(out,
                   "<line x1=\"{}\" y1=\"{:.1f}\" x2=\"{}\" y2=\"{:.1f}\" stroke=\"#dddddd\"/>\n"
                   "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:g}</text>\n",
                   kLeft, to_y(y), kLeft + plot_width, to_y(y), kLeft - 8, to_y(y) + 4,
                   std::round(y * 1e6) / 1e6);
  }
  for (double x = std::ceil(x_min / x_step) * x_step; x <= x_max + x_step / 1e6; x += x_step) {
    fmt::format_to(out,
                   "<line x1=\"{:.1f}\" y1=\"{}\" x2=\"{:.1f}\" y2=\"{}\" stroke=\"#dddddd\"/>\n"
                   "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:g}</text>\n",
                   to_x(x), kTop, to_x(x), kTop + plot_height, to_x(x), kTop + plot_height + 18,
                   std::round(x * 1e6) / 1e6);
  }
  fmt::format_to(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", kLeft + plot_width / 2,
                 kHeight - 14, Escaped(x_label));
  fmt::format_to(out, "<text transform=\"translate(18,{}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                 kTop + plot_height / 2, Escaped(y_label));
  for (size_t i = 0; i < series.size(); ++i) {
    const Series& s = series[i];
    const char* color = kColors[i % kColors.size()];
    const char* dash = s.dashed ? " stroke-dasharray=\"6 4\"" : "";
    std::string points;
    for (const auto& [x, y] : s.points) points += fmt::format("{:.1f},{:.1f} ", to_x(x), to_y(y));
    const double legend_y = kTop + 14 + 22 * static_cast<double>(i), legend_x = kWidth - kRight + 14;
    fmt::format_to(out,
                   "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}/>\n"
                   "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{}\" stroke-width=\"2\"{}/>\n"
                   "<text x=\"{}\" y=\"{}\">{}</text>\n",
                   points, color, dash, legend_x, legend_y, legend_x + 24, legend_y, color, dash,
                   legend_x + 30, legend_y + 4, Escaped(s.name));
  }
  return svg + "</svg>\n";
}

}  // namespace deepshock
