// SPDX-License-Identifier: Apache-2.0
#include "base/line_plot.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

TEST(LinePlot, DrawsEachSeriesToScale) {
  LinePlot plot;
  plot.title = "a < b & c";
  plot.series = {{"one", {{2, 0}, {4, 1}}}, {"bound", {{2, 0.5}, {4, 0.5}}, true}};
  const std::string svg = plot.ToSvg();
  // The corners of the drawing area, and its middle.
  EXPECT_NE(svg.find("points=\"70.0,364.0 570.0,40.0 \""), std::string::npos) << svg;
  EXPECT_NE(svg.find("points=\"70.0,202.0 570.0,202.0 \""), std::string::npos) << svg;
  EXPECT_NE(svg.find("a &lt; b &amp; c"), std::string::npos);
  EXPECT_NE(svg.find("stroke-dasharray"), std::string::npos);
}

TEST(LinePlot, OnePointOrNoneIsStillAnImage) {
  LinePlot plot;
  EXPECT_NE(plot.ToSvg().find("</svg>"), std::string::npos);
  plot.series = {{"one", {{3, 0.5}}}};
  const std::string svg = plot.ToSvg();
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

}  // namespace
}  // namespace deepshock
