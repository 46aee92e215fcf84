#include "io/html_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace lastbit::io {
namespace {

constexpr std::string_view kStyle = R"(
:root{--ink:#1c2430;--soft:#5a6675;--line:#d9dee5;--fill:#2f6fb8;--warm:#cc8420;--paper:#fff;--tint:#f4f6f9;--good:#1a7f37;--bad:#99201e}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:16px;font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1,h2,h3,li{overflow-wrap:anywhere}h1{font-size:1.5rem;margin:.2em 0}h2{font-size:1.15rem;margin:1.6em 0 .5em}h3{font-size:1rem;margin:1.2em 0 .3em}p{margin:.4em 0}p.soft,.soft{color:var(--soft)}.pass{color:var(--good)}.fail{color:var(--bad)}
ul{margin:.3em 0;padding-left:20px}code{font-family:ui-monospace,monospace;font-size:.87rem;overflow-wrap:anywhere}
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
svg{max-width:100%;height:auto}svg.picture text{font:11px system-ui,sans-serif;fill:var(--ink)}svg .ground{fill:var(--paper);stroke:var(--line)}svg .good{fill:var(--good)}svg .bad{fill:var(--bad)}
.pictures{display:flex;flex-wrap:wrap;gap:16px}.pictures svg{background:var(--tint);border-radius:6px;padding:4px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:16px}
.charts>svg{width:100%;border:1px solid var(--line);border-radius:6px}
.scroll svg{max-width:none}
.heat td{text-align:center}.heat th{white-space:nowrap}footer{margin-top:2em;color:var(--soft);font-size:.9rem}
@media(max-width:600px){.bars{grid-template-columns:minmax(0,7.5rem) minmax(0,1fr) auto}body{padding:12px}}
)";

}  // namespace

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char symbol : text) {
    switch (symbol) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(symbol) < 0x20 && symbol != '\n' && symbol != '\t' ? '?' : symbol;
    }
  }
  return out;
}

std::string html_page(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title><style>{}</style></head>"
      "<body>\n{}</body></html>\n",
      xml_escaped(title), kStyle, body);
}

std::string bar_chart(std::string_view label, const std::vector<Bar>& bars) {
  double most = 0;
  for (const Bar& bar : bars) most = std::max(most, bar.value);
  std::string out = fmt::format("<dl class=\"bars\" aria-label=\"{}\">\n", xml_escaped(label));
  for (const Bar& bar : bars) {
    out += fmt::format(
        "<dt>{}</dt><dd class=\"track\" role=\"img\" aria-label=\"{}\"><i style=\"left:0;width:{:.2f}%\"></i></dd>"
        "<dd>{}</dd>\n",
        xml_escaped(bar.label), xml_escaped(bar.label + ": " + bar.value_text), most > 0 ? 100 * bar.value / most : 0,
        xml_escaped(bar.value_text));
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
  std::string out = fmt::format("<dl class=\"bars\" aria-label=\"{}\">\n", xml_escaped(label));
  for (const Swing& swing : swings) {
    const double left = std::min(swing.from, swing.to);
    const double right = std::max(swing.from, swing.to);
    out += fmt::format(
        "<dt>{0}</dt><dd class=\"track\" role=\"img\" aria-label=\"{0}: {1:.2f} to {2:.2f} {3}\">"
        "<i style=\"left:{4:.2f}%;width:{5:.2f}%\"></i><b style=\"left:{6:.2f}%\"></b></dd><dd>{7}</dd>\n",
        xml_escaped(swing.label), left, right, xml_escaped(unit), place(left), place(right) - place(left), place(point),
        xml_escaped(swing.text));
  }
  return out + fmt::format("</dl>\n<p>Axis from {:.2f} to {:.2f} {}; the mark is the forecast, {:.2f} {}.</p>\n", low,
                           high, xml_escaped(unit), point, xml_escaped(unit));
}

std::string shaded_table(std::string_view label, const std::vector<std::string>& columns,
                         const std::vector<ShadedRow>& rows) {
  std::string out = fmt::format("<div class=\"scroll\"><table class=\"heat\" aria-label=\"{}\"><thead><tr><th></th>",
                                xml_escaped(label));
  for (const std::string& column : columns) out += fmt::format("<th>{}</th>", xml_escaped(column));
  out += "</tr></thead><tbody>\n";
  for (const ShadedRow& row : rows) {
    out += fmt::format("<tr><th>{}</th>", xml_escaped(row.label));
    for (const double share : row.shares) {
      const double depth = std::clamp(share, 0.0, 1.0);
      out += fmt::format("<td style=\"background:rgba(47,111,184,{:.2f});color:{}\">{:.1f}</td>", depth,
                         depth > 0.55 ? "#fff" : "#1c2430", 100 * share);
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string html_table(std::string_view label, const std::vector<std::vector<std::string>>& rows) {
  std::string out = fmt::format("<div class=\"scroll\"><table aria-label=\"{}\">", xml_escaped(label));
  bool head = true;
  for (const std::vector<std::string>& row : rows) {
    out += head ? "<thead><tr>" : "<tr>";
    for (const std::string& cell : row) {
      const bool words = cell.size() > 24;
      out += head ? fmt::format("<th>{}</th>", xml_escaped(cell))
                  : fmt::format("<td{}>{}</td>", words ? " class=\"words\"" : "", xml_escaped(cell));
    }
    out += head ? "</tr></thead><tbody>\n" : "</tr>\n";
    head = false;
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace lastbit::io
