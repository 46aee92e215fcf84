// Pictures of numbers as SVG text, for pages that need no network (io/html_page.h): line charts and heat maps.
//
// They are 480 units wide, so that the letters are readable on a telephone; every one has a title and a label for
// screen readers, and units on its axes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lastbit::io {

struct ChartSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; those that are not finite are left out
};

// A line across the chart, with its name.
struct ChartLimit {
  double y = 0;
  std::string name;
};

struct LineChart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<ChartSeries> series;
  bool log_y = false;  // values of 0 and less are left out
  std::optional<double> y_low = {};
  std::optional<double> y_high = {};
  bool steps = false;  // a level holds until the next point; every point is drawn
  std::optional<ChartLimit> limit = {};
};

// Series of more than 400 points (unless `steps`) are drawn as means of equal numbers of neighbours. A chart without
// points says so.
[[nodiscard]] std::string line_chart_svg(const LineChart& chart);

struct HeatMap {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::string value_label;
  std::vector<std::string> row_names;
  std::vector<std::string> column_names;    // as many as columns, or the first and the last alone
  std::vector<std::vector<double>> values;  // [rows][columns]
  double low = 0;                           // white; values beyond take the colour of the end
  double high = 1;                          // dark
};
[[nodiscard]] std::string heat_map_svg(const HeatMap& map);

}  // namespace lastbit::io
