#include "sim/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "io/svg_chart.h"

namespace lastbit::sim::report {
namespace {

constexpr std::string_view kStyle = R"(
:root{--ink:#1c2430;--soft:#5a6675;--line:#d9dee5;--fill:#2f6fb8;--warm:#cc8420;--paper:#ffffff;--tint:#f4f6f9}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:16px;font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{font-size:1.5rem;margin:.2em 0}h2{font-size:1.15rem;margin:1.6em 0 .5em}p{margin:.4em 0;color:var(--soft)}
.runs{display:grid;gap:24px;grid-template-columns:minmax(0,1fr)}
@media(min-width:900px){.runs.two{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:6px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:4px 8px;border-bottom:1px solid var(--line);vertical-align:top}
th:first-child,td:first-child{text-align:left}thead th{color:var(--soft);font-weight:600}
td{white-space:nowrap}td:first-child{white-space:normal}td.words{text-align:left;white-space:normal;min-width:16rem}
.bars{display:grid;grid-template-columns:minmax(0,11rem) minmax(0,1fr) auto;gap:5px 10px;align-items:center;margin:0}
.bars dt{overflow-wrap:anywhere}.bars dd{margin:0}.track{background:var(--tint);height:16px;border-radius:3px;position:relative}
.track i{position:absolute;top:0;bottom:0;background:var(--fill);border-radius:3px;min-width:2px}
.track b{position:absolute;top:-3px;bottom:-3px;width:2px;background:var(--warm)}
.key{display:flex;flex-wrap:wrap;gap:12px;margin:12px 0}
.key div{background:var(--tint);border-radius:8px;padding:10px 14px;min-width:9.5rem;flex:1}
.key strong{display:block;font-size:1.35rem}.key span{color:var(--soft)}
svg{max-width:100%;height:auto}.scroll svg{max-width:none}
.heat td{text-align:center}footer{margin-top:2em;color:var(--soft);font-size:.9rem}
@media(max-width:600px){.bars{grid-template-columns:minmax(0,7.5rem) minmax(0,1fr) auto}body{padding:12px}}
)";

// 1, 2 or 5 times a power of ten: at most `ticks` over `total`.
double tick(double total, double ticks) {
  const double rough = total / ticks;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

}  // namespace

std::string page(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title><style>{}</style></head>"
      "<body>\n{}</body></html>\n",
      io::xml_escaped(title), kStyle, body);
}

std::string bar_chart(std::string_view label, const std::vector<Bar>& bars) {
  double most = 0;
  for (const Bar& bar : bars) most = std::max(most, bar.value);
  std::string out = fmt::format("<dl class=\"bars\" aria-label=\"{}\">\n", io::xml_escaped(label));
  for (const Bar& bar : bars) {
    out += fmt::format(
        "<dt>{}</dt><dd class=\"track\" role=\"img\" aria-label=\"{}\"><i style=\"left:0;width:{:.2f}%\"></i></dd>"
        "<dd>{}</dd>\n",
        io::xml_escaped(bar.label), io::xml_escaped(bar.label + ": " + bar.value_text),
        most > 0 ? 100 * bar.value / most : 0, io::xml_escaped(bar.value_text));
  }
  return out + "</dl>\n";
}

std::string swing_chart(std::string_view label, double point, const std::vector<Swing>& swings, std::string_view unit) {
  double low = point;
  double high = point;
  for (const Swing& swing : swings) {
    low = std::min({low, swing.from, swing.to});
    high = std::max({high, swing.from, swing.to});
  }
  const double span = high > low ? high - low : 1;
  const auto place = [&](double value) { return 100 * (value - low) / span; };
  std::string out = fmt::format("<dl class=\"bars\" aria-label=\"{}\">\n", io::xml_escaped(label));
  for (const Swing& swing : swings) {
    const double left = std::min(swing.from, swing.to);
    const double right = std::max(swing.from, swing.to);
    out += fmt::format(
        "<dt>{0}</dt><dd class=\"track\" role=\"img\" aria-label=\"{0}: {1:.2f} to {2:.2f} {3}\">"
        "<i style=\"left:{4:.2f}%;width:{5:.2f}%\"></i><b style=\"left:{6:.2f}%\"></b></dd><dd>{7}</dd>\n",
        io::xml_escaped(swing.label), left, right, io::xml_escaped(unit), place(left), place(right) - place(left),
        place(point), io::xml_escaped(swing.text));
  }
  return out + fmt::format("</dl>\n<p>Axis from {:.2f} to {:.2f} {}; the mark is the forecast, {:.2f} {}.</p>\n", low,
                           high, io::xml_escaped(unit), point, io::xml_escaped(unit));
}

std::string step_chart(std::string_view label, const std::vector<Step>& steps, double end, double limit,
                       std::string_view x_unit, std::string_view y_unit) {
  constexpr double kWidth = 400;
  constexpr double kHeight = 230;
  constexpr double kPlotLeft = 40;
  constexpr double kBottom = 34;
  constexpr double kPlotTop = 14;
  double most = limit;
  for (const Step& step : steps) most = std::max(most, step.value);
  most = most > 0 ? most * 1.05 : 1;
  const double right = kWidth - 8;
  const double base = kHeight - kBottom;
  const auto x = [&](double at) { return kPlotLeft + (end > 0 ? at / end : 0) * (right - kPlotLeft); };
  const auto y = [&](double value) { return base - value / most * (base - kPlotTop); };
  std::string out = fmt::format(
      "<svg role=\"img\" aria-label=\"{0}\" viewBox=\"0 0 {1:.0f} {2:.0f}\" width=\"{1:.0f}\" font-size=\"11\" "
      "font-family=\"sans-serif\"><title>{0}</title>\n",
      io::xml_escaped(label), kWidth, kHeight);
  const double y_step = tick(most, 5);
  for (double value = 0; value <= most; value += y_step) {
    out += fmt::format(
        "<path d=\"M{0:.1f} {1:.1f}H{2:.1f}\" stroke=\"#d9dee5\"/><text x=\"{3:.1f}\" y=\"{4:.1f}\" "
        "text-anchor=\"end\" fill=\"#5a6675\">{5:g}</text>\n",
        kPlotLeft, y(value), right, kPlotLeft - 4, y(value) + 4, value);
  }
  const double x_step = end > 0 ? tick(end, 6) : 1;
  for (double at = 0; at <= end; at += x_step) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" fill=\"#5a6675\">{:g}</text>\n", x(at),
                       base + 14, at);
  }
  out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\" fill=\"#5a6675\">{}</text>", right, base + 28,
                     io::xml_escaped(x_unit));
  out += fmt::format("<text x=\"4\" y=\"10\" fill=\"#5a6675\">{}</text>\n", io::xml_escaped(y_unit));
  std::string path = fmt::format("M{:.1f} {:.1f}", x(0), y(steps.empty() ? 0 : steps.front().value));
  for (const Step& step : steps) path += fmt::format("H{:.1f}V{:.1f}", x(step.at), y(step.value));
  out += fmt::format("<path d=\"{}H{:.1f}\" fill=\"none\" stroke=\"#2f6fb8\" stroke-width=\"1.5\"/>\n", path, x(end));
  if (limit > 0) {
    out += fmt::format(
        "<path d=\"M{0:.1f} {1:.1f}H{2:.1f}\" stroke=\"#cc8420\" stroke-width=\"1.5\" stroke-dasharray=\"5 3\"/>"
        "<text x=\"{2:.1f}\" y=\"{3:.1f}\" text-anchor=\"end\" fill=\"#8a5a10\">capacity {4:.0f}</text>\n",
        kPlotLeft, y(limit), right, y(limit) + 13, limit);
  }
  return out + "</svg>\n";
}

std::string heat_map(std::string_view label, const std::vector<std::string>& columns,
                     const std::vector<HeatRow>& rows) {
  std::string out = fmt::format("<div class=\"scroll\"><table class=\"heat\" aria-label=\"{}\"><thead><tr><th></th>",
                                io::xml_escaped(label));
  for (const std::string& column : columns) out += fmt::format("<th>{}</th>", io::xml_escaped(column));
  out += "</tr></thead><tbody>\n";
  for (const HeatRow& row : rows) {
    out += fmt::format("<tr><th>{}</th>", io::xml_escaped(row.label));
    for (const double share : row.shares) {
      const double depth = std::clamp(share, 0.0, 1.0);
      out += fmt::format("<td style=\"background:rgba(47,111,184,{:.2f});color:{}\">{:.1f}</td>", depth,
                         depth > 0.55 ? "#fff" : "#1c2430", 100 * share);
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string table(std::string_view label, const std::vector<std::vector<std::string>>& rows) {
  std::string out = fmt::format("<div class=\"scroll\"><table aria-label=\"{}\">", io::xml_escaped(label));
  bool head = true;
  for (const std::vector<std::string>& row : rows) {
    out += head ? "<thead><tr>" : "<tr>";
    for (const std::string& cell : row) {
      const bool words = cell.size() > 24;
      out += head ? fmt::format("<th>{}</th>", io::xml_escaped(cell))
                  : fmt::format("<td{}>{}</td>", words ? " class=\"words\"" : "", io::xml_escaped(cell));
    }
    out += head ? "</tr></thead><tbody>\n" : "</tr>\n";
    head = false;
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace lastbit::sim::report
