#include "io/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>

#include "io/html_page.h"

namespace lastbit::io {
namespace {

constexpr double kWidth = 480;
constexpr double kChartHeight = 300;
constexpr double kLeft = 62;
constexpr double kRight = 14;
constexpr double kTop = 56;     // title and legend
constexpr double kBottom = 46;  // ticks and the axis' label
constexpr std::size_t kMostPoints = 400;
constexpr std::array<const char*, 8> kColours{"#2f6fb8", "#cc6a1e", "#3c8a4e", "#7a4fb0",
                                              "#b8323f", "#4a4a4a", "#1d8f95", "#9a7b1c"};

std::string opening(const std::string& title, const std::string& label, double height) {
  return fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0f} {:.0f}" role="img" )"
                     R"(aria-label="{}" font-family="sans-serif" font-size="12">)"
                     "\n<title>{}</title>\n"
                     R"(<text x="8" y="18" font-size="14" font-weight="bold">{}</text>)"
                     "\n",
                     kWidth, height, xml_escaped(label), xml_escaped(label), xml_escaped(title));
}

std::string text_at(double x, double y, std::string_view words, std::string_view style) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" {}>{}</text>)", x, y, style, xml_escaped(words));
}

// Along a vertical axis, read from below.
std::string sideways(double x, double y, std::string_view words) {
  return text_at(0, 0, words,
                 fmt::format("text-anchor=\"middle\" transform=\"translate({:.1f} {:.1f}) rotate(-90)\"", x, y));
}

// A short number: 1200 -> 1.2k.
std::string short_number(double value) {
  const double size = std::abs(value);
  if (size >= 1e9) return fmt::format("{:.4g}G", value / 1e9);
  if (size >= 1e6) return fmt::format("{:.4g}M", value / 1e6);
  if (size >= 1e4) return fmt::format("{:.4g}k", value / 1e3);
  return fmt::format("{:.4g}", value);
}

// 1, 2 or 5 times a power of ten.
double nice_step(double range, double ticks) {
  const double rough = range / ticks;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough) return factor * power;
  return 10 * power;
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  [[nodiscard]] bool empty() const { return low > high; }
  void widen() {
    if (low == high) {
      low -= std::max(std::abs(low) * 0.05, 1e-9);
      high += std::max(std::abs(high) * 0.05, 1e-9);
    }
  }
};

using Points = std::vector<std::pair<double, double>>;

// Points that can be drawn, thinned; on the logarithm's scale where asked for.
Points drawable(const Points& points, bool log_y, bool every_point) {
  Points sound;
  for (const auto& [x, y] : points)
    if (std::isfinite(x) && std::isfinite(y) && (!log_y || y > 0)) sound.emplace_back(x, log_y ? std::log10(y) : y);
  if (every_point || sound.size() <= kMostPoints) return sound;
  const std::size_t group = (sound.size() + kMostPoints - 1) / kMostPoints;
  Points thin;
  for (std::size_t begin = 0; begin < sound.size(); begin += group) {
    const std::size_t end = std::min(begin + group, sound.size());
    double x = 0;
    double y = 0;
    for (std::size_t i = begin; i < end; ++i) {
      x += sound[i].first;
      y += sound[i].second;
    }
    const auto count = static_cast<double>(end - begin);
    thin.emplace_back(x / count, y / count);
  }
  return thin;
}

class Plot {
 public:
  Plot(const LineChart& chart, Range x, Range y) : chart_(chart), x_(x), y_(y) {}

  [[nodiscard]] double across(double x) const {
    return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  [[nodiscard]] double down(double y) const {
    const double base = kChartHeight - kBottom;
    return base - std::clamp((y - y_.low) / (y_.high - y_.low), 0.0, 1.0) * (base - kTop);
  }

  [[nodiscard]] std::string axes() const {
    std::string out;
    const double base = kChartHeight - kBottom;
    const double x_step = nice_step(x_.high - x_.low, 5);
    for (double x = std::ceil(x_.low / x_step) * x_step; x <= x_.high * (1 + 1e-12); x += x_step)
      out += fmt::format(R"(<path d="M{0:.1f} {1:.1f}V{2:.1f}" stroke="#e2e2e2"/>)", across(x), kTop, base) +
             text_at(across(x), base + 16, short_number(x), R"(text-anchor="middle" fill="#444")");
    for (const double y : y_ticks())
      out += fmt::format(R"(<path d="M{0:.1f} {1:.1f}H{2:.1f}" stroke="#e2e2e2"/>)", kLeft, down(y), kWidth - kRight) +
             text_at(kLeft - 6, down(y) + 4, chart_.log_y ? fmt::format("{:.3g}", std::pow(10, y)) : short_number(y),
                     R"(text-anchor="end" fill="#444")");
    out += text_at((kLeft + kWidth - kRight) / 2, kChartHeight - 8, chart_.x_label, R"(text-anchor="middle")");
    return out + sideways(14, (kTop + base) / 2, chart_.y_label) + "\n";
  }

  [[nodiscard]] std::string limit(const ChartLimit& limit) const {
    const double y = down(chart_.log_y ? std::log10(limit.y) : limit.y);
    return fmt::format(
               R"(<path d="M{:.1f} {:.1f}H{:.1f}" stroke="#cc8420" stroke-width="1.6" stroke-dasharray="5 3"/>)", kLeft,
               y, kWidth - kRight) +
           text_at(kWidth - kRight, y + 14, fmt::format("{} {}", limit.name, short_number(limit.y)),
                   R"(text-anchor="end" fill="#8a5a10")");
  }

 private:
  [[nodiscard]] std::vector<double> y_ticks() const {
    std::vector<double> ticks;
    const double step =
        chart_.log_y ? std::max(1.0, std::ceil((y_.high - y_.low) / 6)) : nice_step(y_.high - y_.low, 5);
    for (double y = std::ceil(y_.low / step) * step; y <= y_.high + step * 1e-9; y += step)
      ticks.push_back(std::abs(y) < step * 1e-9 ? 0 : y);
    if (ticks.size() < 2) ticks = {y_.low, y_.high};
    return ticks;
  }

  const LineChart& chart_;
  Range x_;
  Range y_;
};

std::string legend(const std::vector<ChartSeries>& series) {
  std::string out;
  double left = kLeft;
  double line = 0;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const double width = 24 + 6.6 * static_cast<double>(series[i].name.size());
    if (left + width > kWidth && left > kLeft) {
      left = kLeft;
      line += 14;
    }
    out += fmt::format(R"(<path d="M{:.1f} {:.1f}h14" stroke="{}" stroke-width="3"/>)", left, 32 + line,
                       kColours.at(i % kColours.size())) +
           text_at(left + 18, 36 + line, series[i].name, "");
    left += width;
  }
  return out + "\n";
}

// White, through yellow and red, to black.
std::string heat_colour(double share) {
  struct Stop {
    double at, red, green, blue;
  };
  constexpr std::array<Stop, 5> kStops{
      {{0, 255, 255, 255}, {0.3, 255, 224, 130}, {0.55, 244, 132, 60}, {0.8, 178, 34, 52}, {1, 60, 6, 30}}};
  const double at = std::clamp(share, 0.0, 1.0);
  std::size_t i = 1;
  while (i + 1 < kStops.size() && at > kStops.at(i).at) ++i;
  const Stop& a = kStops.at(i - 1);
  const Stop& b = kStops.at(i);
  const double t = (at - a.at) / (b.at - a.at);
  const auto mixed = [t](double from, double to) { return static_cast<int>(std::lround(from + (to - from) * t)); };
  return fmt::format("#{:02x}{:02x}{:02x}", mixed(a.red, b.red), mixed(a.green, b.green), mixed(a.blue, b.blue));
}

std::string heat_scale(const HeatMap& map) {
  constexpr int kSteps = 24;
  std::string out;
  for (int i = 0; i < kSteps; ++i)
    out += fmt::format(R"(<rect x="{}" y="28" width="5.2" height="10" fill="{}"/>)", 60 + 5 * i,
                       heat_colour(static_cast<double>(i) / (kSteps - 1)));
  return out + text_at(54, 37, short_number(map.low), R"(text-anchor="end")") +
         text_at(186, 37, fmt::format("{}  {}", short_number(map.high), map.value_label), "") + "\n";
}

}  // namespace

std::string line_chart_svg(const LineChart& chart) {
  std::string out =
      opening(chart.title, fmt::format("{}: {} over {}", chart.title, chart.y_label, chart.x_label), kChartHeight);
  std::vector<Points> all;
  Range x;
  Range y;
  for (const ChartSeries& series : chart.series) {
    all.push_back(drawable(series.points, chart.log_y, chart.steps));
    for (const auto& [at, value] : all.back()) {
      x.add(at);
      y.add(value);
    }
  }
  if (x.empty()) return out + text_at(kLeft, kChartHeight / 2, "nothing was recorded", "") + "</svg>\n";
  if (chart.y_low) y.low = chart.log_y ? std::log10(*chart.y_low) : *chart.y_low;
  if (chart.y_high) y.high = chart.log_y ? std::log10(*chart.y_high) : *chart.y_high;
  if (chart.limit) y.add(chart.log_y ? std::log10(chart.limit->y) : chart.limit->y);
  x.widen();
  y.widen();
  const Plot plot(chart, x, y);
  out += plot.axes();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].empty()) continue;
    std::string path;
    for (const auto& [at, value] : all[i]) {
      const char* move = path.empty() ? "M{:.1f} {:.1f}" : chart.steps ? "H{:.1f}V{:.1f}" : "L{:.1f} {:.1f}";
      path += fmt::format(fmt::runtime(move), plot.across(at), plot.down(value));
    }
    out += fmt::format(R"(<path d="{}" fill="none" stroke="{}" stroke-width="1.6"><title>{}</title></path>)", path,
                       kColours.at(i % kColours.size()), xml_escaped(chart.series[i].name));
    if (all[i].size() == 1)
      out += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>)", plot.across(all[i][0].first),
                         plot.down(all[i][0].second), kColours.at(i % kColours.size()));
    out += '\n';
  }
  if (chart.limit) out += plot.limit(*chart.limit);
  return out + legend(chart.series) + "</svg>\n";
}

std::string heat_map_svg(const HeatMap& map) {
  const std::size_t rows = map.values.size();
  const std::size_t columns = rows == 0 ? 0 : map.values.front().size();
  const double cell = std::clamp(200.0 / static_cast<double>(std::max<std::size_t>(rows, 1)), 4.0, 22.0);
  const double base = kTop + cell * static_cast<double>(rows);
  std::string out =
      opening(map.title, fmt::format("{}: {} by {} and {}", map.title, map.value_label, map.y_label, map.x_label),
              base + kBottom);
  if (columns == 0) return out + "</svg>\n";
  std::size_t longest = 4;
  for (const std::string& name : map.row_names) longest = std::max(longest, name.size());
  const double left = std::min(26 + 6.6 * static_cast<double>(longest), 200.0);
  const double width = (kWidth - left - kRight) / static_cast<double>(columns);
  out += heat_scale(map);
  const auto row_stride = static_cast<std::size_t>(std::ceil(12 / cell));
  for (std::size_t row = 0; row < rows; ++row) {
    const double top = kTop + cell * static_cast<double>(row);
    for (std::size_t column = 0; column < columns; ++column) {
      const double value = map.values[row][column];
      out += fmt::format(R"(<rect x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{:.1f}" fill="{}"/>)",
                         left + width * static_cast<double>(column), top, width + 0.3, cell + 0.3,
                         heat_colour((value - map.low) / (map.high - map.low)));
    }
    if (row % row_stride == 0)
      out += text_at(left - 4, top + cell / 2 + 4, row < map.row_names.size() ? map.row_names[row] : "",
                     R"(text-anchor="end" fill="#444")");
    out += '\n';
  }
  if (map.column_names.size() == columns && columns > 2) {
    for (std::size_t column = 0; column < columns; ++column)
      out += text_at(left + width * (static_cast<double>(column) + 0.5), base + 15, map.column_names[column],
                     R"(text-anchor="middle" fill="#444")");
  } else if (!map.column_names.empty()) {
    out += text_at(left, base + 15, map.column_names.front(), R"(fill="#444")");
    out += text_at(kWidth - kRight, base + 15, map.column_names.back(), R"(text-anchor="end" fill="#444")");
  }
  out += fmt::format(R"(<rect x="{:.1f}" y="{}" width="{:.1f}" height="{:.1f}" fill="none" stroke="#999"/>)", left,
                     kTop, kWidth - left - kRight, base - kTop);
  out += text_at((left + kWidth) / 2, base + 34, map.x_label, R"(text-anchor="middle")");
  return out + sideways(13, (kTop + base) / 2, map.y_label) + "</svg>\n";
}

}  // namespace lastbit::io
