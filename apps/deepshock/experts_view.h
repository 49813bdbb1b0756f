// SPDX-License-Identifier: Apache-2.0
// How groups of experts look: as text for a terminal, and as drawings.
#pragma once

#include <string>
#include <vector>

#include "apps/common/drawing.h"
#include "experts/groups.h"

namespace deepshock {

struct Look {
  bool color = false;
  int columns = 100;
};
// Of stdout: colour on a terminal, unless the user said NO_COLOR (no-color.org).
Look StdoutLook();

// Layers down, experts across; a bar's height is the share of selections, and the group's set stands out.
std::string HeatMapText(const ExpertGroup& group, const Look& look);
Drawing HeatMapImage(const ExpertGroup& group);

// Groups by groups, row by row.
struct Comparison {
  std::vector<std::string> names;
  std::vector<double> overlap;      // Jaccard of the sets of row and column
  std::vector<double> coverage;     // share of the selections on the row's text that the column's set holds
  std::vector<double> correlation;  // of the profiles of row and column
  std::vector<double> chance;       // for each column's set: the coverage of as many random experts
};
std::string ComparisonText(const Comparison& comparison);
Drawing ComparisonImage(const Comparison& comparison);

}  // namespace deepshock
