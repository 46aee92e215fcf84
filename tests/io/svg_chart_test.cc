#include "io/svg_chart.h"

#include <gtest/gtest.h>

#include <limits>

namespace lastbit::io {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(SvgChart, LeavesOutWhatCannotBeDrawn) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string chart =
      line_chart_svg({"T <1>", "step", "norm", {{"a", {{0, 1}, {1, nan}, {2, 100}, {3, 0}}}, {"b", {}}}, true});
  EXPECT_EQ(chart.find("nan"), std::string::npos);
  EXPECT_NE(chart.find("T &lt;1&gt;"), std::string::npos);
  EXPECT_NE(chart.find("role=\"img\""), std::string::npos);
  EXPECT_EQ(count(chart, "stroke-width=\"1.6\""), 1U);
  EXPECT_NE(line_chart_svg({"empty", "x", "y", {}}).find("nothing was recorded"), std::string::npos);
}

TEST(SvgChart, ThinsLongSeriesToTheirMeans) {
  ChartSeries series{"long", {}};
  for (int i = 0; i < 10000; ++i) series.points.emplace_back(i, i % 2);
  const std::string chart = line_chart_svg({"t", "x", "y", {series}});
  EXPECT_LT(chart.size(), 12000U);
}

TEST(SvgChart, StepsKeepEveryLevelAndShowTheLimit) {
  LineChart chart{"memory", "s", "GiB", {{"held", {}}}};
  chart.steps = true;
  chart.limit = ChartLimit{80, "capacity"};
  for (int i = 0; i < 1000; ++i) chart.series[0].points.emplace_back(i, i == 500 ? 70 : 1);
  const std::string picture = line_chart_svg(chart);
  const std::size_t path = picture.find("stroke=\"#2f6fb8\"");
  ASSERT_NE(path, std::string::npos);
  const std::size_t begin = picture.rfind("d=\"M", path);
  const std::string line = picture.substr(begin, path - begin);
  EXPECT_EQ(count(line, "H"), 999U);
  EXPECT_NE(picture.find("capacity 80"), std::string::npos);
}

TEST(SvgChart, DrawsACellForEachValue) {
  HeatMap map;
  map.values = {{0, 1, 2}, {2, 1, 0}};
  map.row_names = {"r0", "r1"};
  map.column_names = {"c0", "c1", "c2"};
  const std::string picture = heat_map_svg(map);
  EXPECT_EQ(count(picture, "fill=\"#3c061e\""), 4U + 1U);  // 1 and beyond, and the end of the scale
  EXPECT_NE(picture.find(">c1<"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::io
