// SPDX-License-Identifier: Apache-2.0
#include "apps/deepshock/experts_view.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "apps/common/terminal.h"

namespace deepshock {
namespace {

constexpr const char* kBars[] = {".", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr Color kText = {40, 44, 52}, kFaint = {112, 118, 130}, kMark = {236, 112, 20};

double MaxShare(const ExpertProfile& profile) {
  double most = 0;
  for (const LayerProfile& layer : profile.layers) {
    for (const double share : layer.token) most = std::max(most, share);
  }
  return most;
}

std::string SetLine(const ExpertGroup& group, const ExpertSelection& selection) {
  std::string size = fmt::format("{} of {} experts", selection.size(),
                                 static_cast<int64_t>(selection.layers.size()) * selection.num_experts);
  return fmt::format("{} {}: {}, {:.1f} % of the text's selections", Name(group.rule), group.p, size,
                     100 * Coverage(selection, group.profile));
}

std::string QualityLine(const ExpertGroup& group) {
  std::string text;
  if (group.split_half) {
    text = fmt::format("halves agree: Jaccard {:.2f}, correlation {:.3f}", group.split_half->jaccard,
                       group.split_half->correlation);
  }
  if (group.held_out && group.held_out->chance > 0) {
    text += fmt::format("{}held out: {:.1f} %, {:.2f} times chance", text.empty() ? "" : "; ",
                        100 * group.held_out->coverage, group.held_out->coverage / group.held_out->chance);
  }
  return text;
}

// The largest share of experts [begin, end).
double LargestShare(const LayerProfile& layer, int begin, int end) {
  double most = 0;
  for (int e = begin; e < end; ++e) most = std::max(most, layer.token[static_cast<size_t>(e)]);
  return most;
}

}  // namespace

Look StdoutLook() {
  Look look;
  if (::isatty(STDOUT_FILENO) != 1) return look;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  look.color =
      (no_color == nullptr || *no_color == '\0') && term != nullptr && std::string_view(term) != "dumb";
  winsize size = {};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) look.columns = size.ws_col;
  return look;
}

std::string HeatMapText(const ExpertGroup& group, const Look& look) {
  constexpr int kLabel = 7, kMinColumns = 16;
  const ExpertProfile& profile = group.profile;
  const ExpertSelection selection = group.Select();
  const double most = MaxShare(profile), equal = 1.0 / profile.num_experts;
  const int room = std::max(kMinColumns, look.columns - kLabel);
  const int bin = (profile.num_experts + room - 1) / room;
  const int columns = (profile.num_experts + bin - 1) / bin;
  const bool list_sets = columns + kLabel + 20 <= look.columns;

  std::string text =
      fmt::format("{}: {} tokens of {}\n", group.name, group.num_tokens, SafeForTerminal(group.data));
  text += SetLine(group, selection) + "\n";
  if (const std::string quality = QualityLine(group); !quality.empty()) text += quality + "\n";
  text += fmt::format("a bar is {} of selections; a full one is {:.4f}, {:.1f} times an equal share\n\n",
                      bin == 1 ? "an expert's share" : fmt::format("the largest share of {} experts", bin),
                      most, most / equal);
  std::string ruler;
  for (int c = 0; c < columns; c += 10) ruler += fmt::format("{:<10}", c * bin);
  ruler.resize(std::min(ruler.find_last_not_of(' ') + 1, static_cast<size_t>(columns + 3)));
  text += fmt::format("layer  {:<{}}{}\n", ruler, columns, list_sets ? "  set" : "");
  for (size_t l = 0; l < profile.layers.size(); ++l) {
    const LayerProfile& layer = profile.layers[l];
    const std::vector<int32_t>& chosen = selection.layers[l].experts;
    const std::set<int32_t> set(chosen.begin(), chosen.end());
    text += fmt::format("{:>5}  ", layer.layer);
    for (int c = 0; c < columns; ++c) {
      const int begin = c * bin, end = std::min(begin + bin, profile.num_experts);
      const double share = LargestShare(layer, begin, end);
      const auto level = static_cast<size_t>(most > 0 ? std::ceil(8 * share / most) : 0);
      const auto member = set.lower_bound(begin);
      const bool is_member = member != set.end() && *member < end;
      const char* bar = kBars[std::min<size_t>(level, 8)];
      text += look.color ? fmt::format("\x1b[{}m{}\x1b[0m", is_member ? "1;33" : "34", bar) : bar;
    }
    if (list_sets) text += fmt::format("  {}", fmt::join(chosen, " "));
    text += "\n";
  }
  return text;
}

Drawing HeatMapImage(const ExpertGroup& group) {
  const ExpertProfile& profile = group.profile;
  const ExpertSelection selection = group.Select();
  const double most = MaxShare(profile), equal = 1.0 / profile.num_experts;
  const int num_layers = static_cast<int>(profile.layers.size());
  const double cell_w = std::clamp(960.0 / profile.num_experts, 4.0, 22.0);
  const double cell_h = std::clamp(900.0 / std::max(1, num_layers), 8.0, 22.0);
  constexpr double kLeft = 64, kTop = 96, kRight = 110, kBottom = 56;
  const double map_w = cell_w * profile.num_experts, map_h = cell_h * num_layers;
  const double width = std::max(kLeft + map_w + kRight, 620.0);
  Drawing drawing(width, kTop + std::max(map_h, 120.0) + kBottom);

  drawing.Text(kLeft, 32, group.name, 20, Align::kLeft, kText);
  drawing.Text(kLeft, 52, fmt::format("{} tokens; {}", group.num_tokens, SetLine(group, selection)), 12,
               Align::kLeft, kFaint);
  drawing.Text(kLeft, 70, QualityLine(group), 12, Align::kLeft, kFaint);
  for (int l = 0; l < num_layers; ++l) {
    const LayerProfile& layer = profile.layers[static_cast<size_t>(l)];
    const double y = kTop + l * cell_h;
    for (int e = 0; e < profile.num_experts; ++e) {
      const double share = layer.token[static_cast<size_t>(e)];
      drawing.Fill(kLeft + e * cell_w, y, cell_w, cell_h, HeatColor(most > 0 ? share / most : 0));
    }
    for (const int32_t e : selection.layers[static_cast<size_t>(l)].experts) {
      drawing.Frame(kLeft + e * cell_w, y, cell_w, cell_h, cell_w >= 8 ? 2 : 1, kMark);
    }
    const int every = std::max(1, static_cast<int>(std::ceil(13 / cell_h)));
    if (l % every == 0) {
      drawing.Text(kLeft - 8, y + cell_h / 2 + 4, std::to_string(layer.layer), 11, Align::kRight, kFaint);
    }
  }
  drawing.Frame(kLeft, kTop, map_w, map_h, 1, {190, 196, 206});
  const int step = profile.num_experts <= 40 ? 4 : profile.num_experts <= 80 ? 8 : 16;
  for (int e = 0; e < profile.num_experts; e += step) {
    drawing.Text(kLeft + (e + 0.5) * cell_w, kTop + map_h + 16, std::to_string(e), 11, Align::kCenter,
                 kFaint);
  }
  drawing.Text(kLeft + map_w / 2, kTop + map_h + 38, "expert", 12, Align::kCenter, kText);
  drawing.Text(14, kTop - 10, "layer", 12, Align::kLeft, kText);

  // The scale, and what the frames mean.
  const double x = kLeft + map_w + 24, bar_h = std::max(map_h, 120.0);
  constexpr int kSteps = 64;
  for (int i = 0; i < kSteps; ++i) {
    drawing.Fill(x, kTop + bar_h * i / kSteps, 14, bar_h / kSteps + 0.5, HeatColor(1 - (i + 0.5) / kSteps));
  }
  drawing.Frame(x, kTop, 14, bar_h, 1, {190, 196, 206});
  for (int i = 0; i <= 4; ++i) {
    drawing.Text(x + 20, kTop + bar_h * (4 - i) / 4 + 4, fmt::format("{:.1f} x", most / equal * i / 4), 11,
                 Align::kLeft, kFaint);
  }
  drawing.Text(x, kTop - 10, "equal shares", 12, Align::kLeft, kText);
  drawing.Frame(kLeft, kTop + map_h + 29, 12, 12, 2, kMark);
  drawing.Text(kLeft + 18, kTop + map_h + 39, "in the set", 12, Align::kLeft, kText);
  return drawing;
}

std::string ComparisonText(const Comparison& c) {
  size_t width = 6;
  for (const std::string& name : c.names) width = std::max(width, name.size());
  const auto matrix = [&](const std::string& title, const std::vector<double>& values, const auto& format) {
    std::string text = title + "\n" + fmt::format("{:<{}}", "", width);
    for (const std::string& name : c.names) text += fmt::format("  {:>{}}", name, width);
    text += "\n";
    for (size_t row = 0; row < c.names.size(); ++row) {
      text += fmt::format("{:<{}}", c.names[row], width);
      for (size_t col = 0; col < c.names.size(); ++col) {
        text += fmt::format("  {:>{}}", format(values[row * c.names.size() + col]), width);
      }
      text += "\n";
    }
    return text;
  };
  const auto plain = [](double v) { return fmt::format("{:.2f}", v); };
  const auto percent = [](double v) { return fmt::format("{:.1f} %", 100 * v); };
  std::string text = matrix("overlap of the sets (Jaccard)", c.overlap, plain);
  text += "\n" + matrix("share of the selections on the row's text that the column's set holds", c.coverage,
                        percent);
  text += fmt::format("{:<{}}", "chance", width);
  for (const double chance : c.chance) text += fmt::format("  {:>{}}", percent(chance), width);
  return text + "\n\n" + matrix("correlation of the profiles", c.correlation, plain);
}

Drawing ComparisonImage(const Comparison& c) {
  const double n = static_cast<double>(c.names.size());
  double label = 40;
  for (const std::string& name : c.names) label = std::max(label, Drawing::TextWidth(name, 12) + 24);
  const double cell = std::max(64.0, label - 8), cell_h = 44, top = 92, gap = 48;
  const double panel = label + n * cell;
  Drawing drawing(2 * panel + gap + 32, top + n * cell_h + 56);
  const auto draw = [&](double left, const std::string& title, const std::string& note,
                        const std::vector<double>& values, const auto& format) {
    drawing.Text(left + 16, 32, title, 16, Align::kLeft, kText);
    drawing.Text(left + 16, 52, note, 12, Align::kLeft, kFaint);
    const double most = std::max(1e-9, *std::max_element(values.begin(), values.end()));
    for (size_t row = 0; row < c.names.size(); ++row) {
      const double y = top + static_cast<double>(row) * cell_h;
      drawing.Text(left + label - 10, y + cell_h / 2 + 4, c.names[row], 12, Align::kRight, kText);
      for (size_t col = 0; col < c.names.size(); ++col) {
        const double x = left + label + static_cast<double>(col) * cell;
        if (row == 0) drawing.Text(x + cell / 2, top - 10, c.names[col], 12, Align::kCenter, kText);
        const double value = values[row * c.names.size() + col];
        const Color color = HeatColor(0.9 * value / most);
        drawing.Fill(x + 1, y + 1, cell - 2, cell_h - 2, color);
        drawing.Text(x + cell / 2, y + cell_h / 2 + 5, format(value), 13, Align::kCenter, TextColorOn(color));
      }
    }
  };
  draw(0, "Overlap of the sets", "Jaccard: shared experts over all of both, mean of the layers", c.overlap,
       [](double v) { return fmt::format("{:.2f}", v); });
  draw(panel + gap, "What the sets hold", "share of the row's selections that the column's set holds",
       c.coverage, [](double v) { return fmt::format("{:.1f} %", 100 * v); });
  const double below = top + n * cell_h + 20;
  drawing.Text(panel + gap + label - 10, below, "chance", 11, Align::kRight, kFaint);
  for (size_t col = 0; col < c.names.size(); ++col) {
    const double x = panel + gap + label + (static_cast<double>(col) + 0.5) * cell;
    drawing.Text(x, below, fmt::format("{:.1f} %", 100 * c.chance[col]), 11, Align::kCenter, kFaint);
  }
  return drawing;
}

}  // namespace deepshock
