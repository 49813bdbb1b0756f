// SPDX-License-Identifier: Apache-2.0
#include "apps/common/routing_report.h"

#include <algorithm>
#include <cmath>

#include "runtime/routing_json.h"

namespace deepshock {
namespace {

constexpr int kBarWidth = 24;        // characters of a share of 1
constexpr size_t kCourseWidth = 40;  // of an answer's length
constexpr size_t kListed = 8;        // strongest experts

// In eighths of a character.
std::string Bar(double share) {
  static const char* const kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = std::clamp(static_cast<int>(std::lround(share * kBarWidth * 8)), 0, kBarWidth * 8);
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  bar += kEighths[eighths % 8];
  const int used = eighths / 8 + (eighths % 8 > 0 ? 1 : 0);
  return bar + std::string(static_cast<size_t>(kBarWidth - used), ' ');
}

// A group's share from the answer's first token to its last, each character the mean of as many tokens.
std::string Course(const AnswerExperts& answer, size_t group) {
  static const char* const kHeights[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const size_t num_tokens = answer.tokens.size(), width = std::min(kCourseWidth, num_tokens);
  std::string course;
  for (size_t i = 0; i < width; ++i) {
    const size_t begin = i * num_tokens / width, end = (i + 1) * num_tokens / width;
    double sum = 0;
    for (size_t t = begin; t < end; ++t) sum += answer.tokens[t].group_shares[group];
    const double mean = sum / static_cast<double>(end - begin);
    course += kHeights[std::clamp(static_cast<int>(mean * 8), 0, 7)];
  }
  return course;
}

}  // namespace

std::string DescribeAudit(const RoutingAudit& audit) {
  int64_t changed = 0, banned = 0, dropped = 0;
  for (const RoutingAudit::Layer& layer : audit.layers) {
    changed += layer.changed;
    banned += layer.banned;
    dropped += layer.dropped;
  }
  return fmt::format(
      "routing of {} tokens: of {} selections {} went to other experts, {} would have gone to banned ones, "
      "{} "
      "({:.1f} %) were left out",
      audit.tokens, audit.selections, changed, banned, dropped,
      100 * static_cast<double>(dropped) / static_cast<double>(std::max<int64_t>(1, audit.selections)));
}

std::string DescribeAnswerExperts(const AnswerExperts& answer) {
  std::string text =
      fmt::format("Experts of this answer, {} tokens: shares of the gate weight\n", answer.tokens.size());
  size_t width = std::string_view("no group").size();
  for (const std::string& name : answer.groups) width = std::max(width, name.size());
  std::vector<size_t> order(answer.groups.size());
  for (size_t g = 0; g < order.size(); ++g) order[g] = g;
  std::ranges::stable_sort(order, std::greater(), [&](size_t g) { return answer.group_shares[g]; });
  for (const size_t g : order) {
    text += fmt::format("  {:<{}} {} {:5.1f} %  {}\n", answer.groups[g], width, Bar(answer.group_shares[g]),
                        100 * answer.group_shares[g], Course(answer, g));
  }
  if (!answer.groups.empty()) {
    text += fmt::format("  {:<{}} {} {:5.1f} %\n", "no group", width, Bar(answer.ungrouped_share),
                        100 * answer.ungrouped_share);
  }
  text += "  strongest:";
  for (size_t i = 0; i < std::min(kListed, answer.experts.size()); ++i) {
    text += fmt::format("{} {} {:.1f} %", i == 0 ? "" : ",", ExpertName(answer.experts[i]),
                        100 * answer.experts[i].share);
  }
  return text + fmt::format(" ({} experts worked)\n", answer.experts.size());
}

}  // namespace deepshock
