// SPDX-License-Identifier: Apache-2.0
// LinePlot: curves over a common axis as an SVG image, for reports and documentation. Plain text out, no
// libraries; any thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace deepshock {

struct LinePlot {
  struct Series {
    std::string name;
    std::vector<std::pair<double, double>> points;  // x ascending
    bool dashed = false;                            // a bound rather than a result
  };
  std::string title, x_label, y_label;
  std::vector<Series> series;
  double y_min = 0, y_max = 1;

  // The x axis reaches from the least to the largest x there is.
  std::string ToSvg() const;
};

}  // namespace deepshock
