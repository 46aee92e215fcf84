#include "io/html_page.h"

#include <gtest/gtest.h>

namespace lastbit::io {
namespace {

TEST(HtmlPage, TextIsEscapedAndNothingComesFromTheNetwork) {
  const std::string html = html_page("a < b", bar_chart("x \"y\"", {{"<i>", 2, "2 s"}, {"none", 0, "0 s"}}) +
                                                  html_table("t", {{"head", "value"}, {"row & row", "1"}}) +
                                                  shaded_table("h", {"c"}, {{"r", {0.25}}}) +
                                                  swing_chart("s", 2, {{"up", 2, 3, "1 s"}}, "s"));
  EXPECT_NE(html.find("a &lt; b"), std::string::npos);
  EXPECT_NE(html.find("&lt;i&gt;"), std::string::npos);
  EXPECT_NE(html.find("row &amp; row"), std::string::npos);
  EXPECT_NE(html.find("25.0"), std::string::npos);
  EXPECT_NE(html.find("aria-label=\"x &quot;y&quot;\""), std::string::npos);
  for (const char* forbidden : {"http:", "https:", "<script", "<link", "url("}) {
    EXPECT_EQ(html.find(forbidden), std::string::npos) << forbidden;
  }
}

TEST(HtmlPage, BarsAreSharesOfTheLargest) {
  const std::string chart = bar_chart("x", {{"a", 4, "4"}, {"b", 1, "1"}});
  EXPECT_NE(chart.find("width:100.00%"), std::string::npos);
  EXPECT_NE(chart.find("width:25.00%"), std::string::npos);
  EXPECT_EQ(bar_chart("x", {{"a", 0, "0"}}).find("nan"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::io
