// Parts of a self-contained HTML page: no scripts, nothing from the network, readable from 390 pixels on.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lastbit::io {

// For text inside XML and HTML. Control characters other than line feed and tab, which XML lacks, become '?'.
[[nodiscard]] std::string xml_escaped(std::string_view text);

// A whole page around `body`, with the one style sheet: for the parts below, for pictures side by side (a div of class
// "charts"), wide tables (class "scroll"), words (class "soft", "pass", "fail").
[[nodiscard]] std::string html_page(std::string_view title, std::string_view body);

// A bar a row with its label and value, scaled to the largest. value_text: with its unit.
struct Bar {
  std::string label;
  double value = 0;  // >= 0
  std::string value_text;
};
[[nodiscard]] std::string bar_chart(std::string_view label, const std::vector<Bar>& bars);

// Ranges about a point, one a row: from..to on an axis that all rows share.
struct Swing {
  std::string label;
  double from = 0;
  double to = 0;
  std::string text;
};
[[nodiscard]] std::string swing_chart(std::string_view label, double point, const std::vector<Swing>& swings,
                                      std::string_view unit);

// Shares from 0 to 1 as a table whose cells are shaded; every cell has its number.
struct ShadedRow {
  std::string label;
  std::vector<double> shares;
};
[[nodiscard]] std::string shaded_table(std::string_view label, const std::vector<std::string>& columns,
                                       const std::vector<ShadedRow>& rows);

// A table; the first row is its head, the first cell of a row its label.
[[nodiscard]] std::string html_table(std::string_view label, const std::vector<std::vector<std::string>>& rows);

}  // namespace lastbit::io
