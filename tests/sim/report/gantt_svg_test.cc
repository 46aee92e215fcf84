#include "sim/report/gantt_svg.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "sim/schedule/build.h"

namespace lastbit::sim::report {
namespace {

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::string drawn(schedule::Schedule lists) {
  const auto execution = schedule::execute(lists, schedule::uniform_costs({{1}, {2}, {1}}, {3}));
  return gantt_svg(lists, execution);
}

TEST(GanttSvg, HasOneGroupForEachVerbAndTwoBarsForAFusedOne) {
  const schedule::Schedule lists = schedule::build("dualpipe", {.ranks = 4, .micro_batches = 8});
  std::size_t verbs = 0;
  std::size_t fused = 0;
  for (const auto& list : lists.order) {
    verbs += list.size();
    for (const schedule::Op& op : list) fused += op.verb == schedule::Verb::kFused ? 1 : 0;
  }
  const std::string svg = drawn(lists);
  EXPECT_EQ(count_of(svg, "<g><title>"), verbs);
  EXPECT_EQ(count_of(svg, "<g>"), count_of(svg, "</g>"));
  constexpr std::size_t kBackgroundAndLegend = 1 + 8;
  EXPECT_EQ(count_of(svg, "<rect"), verbs + fused + kBackgroundAndLegend);
  EXPECT_EQ(count_of(svg, ">rank "), 4u);
}

TEST(GanttSvg, EscapesNamesAndDrawsSchedulesWithoutTime) {
  schedule::Schedule lists = schedule::build("1f1b", {.ranks = 1, .micro_batches = 1});
  lists.kind = "<b>&\"";
  EXPECT_NE(drawn(lists).find("&lt;b&gt;&amp;&quot;: 1 ranks"), std::string::npos);
  const auto execution = schedule::execute(lists, schedule::uniform_costs({}, {}));
  EXPECT_EQ(gantt_svg(lists, execution).find("nan"), std::string::npos);
}

TEST(GanttSvg, RefusesWhatNobodyCouldLookAt) {
  const schedule::Schedule lists = schedule::build("gpipe", {.ranks = 101, .micro_batches = 1000});
  EXPECT_THROW(static_cast<void>(drawn(lists)), core::Error);
}

}  // namespace
}  // namespace lastbit::sim::report
