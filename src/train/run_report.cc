#include "train/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/html_page.h"
#include "io/svg_chart.h"

namespace lastbit::train {
namespace {

using io::ChartSeries;
using nlohmann::json;

constexpr std::size_t kHeatColumns = 60;

struct Lines {
  json header = json::object();
  std::vector<const json*> steps;
  std::vector<const json*> validations;
  std::vector<const json*> shadows;
};

Lines sorted_out(const std::vector<json>& lines) {
  Lines result;
  for (const json& line : lines) {
    if (line.contains("schema")) result.header = line;
    if (line.contains("loss")) result.steps.push_back(&line);
    if (line.contains("validation")) result.validations.push_back(&line);
    if (line.contains("shadow")) result.shadows.push_back(&line);
  }
  return result;
}

double step_of(const json& line) { return static_cast<double>(line.at("step").get<std::int64_t>()); }

ChartSeries series_of(const std::string& name, const std::vector<const json*>& lines, const std::string& pointer) {
  ChartSeries series{name, {}};
  const json::json_pointer at(pointer);
  for (const json* line : lines)
    if (line->contains(at) && line->at(at).is_number())
      series.points.emplace_back(step_of(*line), line->at(at).get<double>());
  return series;
}

std::string loss_charts(const Lines& lines) {
  std::vector<ChartSeries> losses{series_of("training, next token", lines.steps, "/main_loss"),
                                  series_of("validation", lines.validations, "/validation/loss")};
  if (!lines.steps.empty())
    for (std::size_t depth = 0; depth < lines.steps.front()->at("mtp_loss").size(); ++depth)
      losses.push_back(series_of(fmt::format("MTP {}", depth + 1), lines.steps, fmt::format("/mtp_loss/{}", depth)));
  return io::line_chart_svg({"Loss", "step", "nats a token", losses}) +
         io::line_chart_svg({"Held-out text",
                             "step",
                             "bits a byte",
                             {series_of("validation", lines.validations, "/validation/bits_per_byte")}}) +
         io::line_chart_svg(
             {"Learning rate", "step", "rate", {series_of("AdamW", lines.steps, "/learning_rate")}, false, 0.0}) +
         io::line_chart_svg({"Gradient norm before clipping",
                             "step",
                             "norm (log scale)",
                             {series_of("all gradients", lines.steps, "/gradient_norm")},
                             true});
}

std::string speed_chart(const Lines& lines) {
  ChartSeries speed{"tokens a second", {}};
  double before = 0;
  for (const json* line : lines.steps) {
    const auto tokens = line->at("tokens").get<double>();
    const auto seconds = line->at("step_s").get<double>();
    const double a_step = tokens - before;
    before = tokens;
    if (seconds > 0) speed.points.emplace_back(step_of(*line), a_step / seconds);
  }
  return io::line_chart_svg({"Speed", "step", "tokens/s", {speed}, false, 0.0});
}

std::string violation_chart(const Lines& lines) {
  std::vector<ChartSeries> all;
  for (std::size_t i = 0; i < lines.steps.front()->at("layers").size(); ++i)
    all.push_back(
        series_of(fmt::format("layer {}", lines.steps.front()->at("layers").at(i).at("layer").get<std::int64_t>()),
                  lines.steps, fmt::format("/layers/{}/max_violation", i)));
  return io::line_chart_svg({"MaxVio: largest load over the mean, less 1", "step", "MaxVio", all, false, 0.0});
}

// Loads of layer `index` by expert and stretch of steps, over the mean load.
std::string load_map(const Lines& lines, std::size_t index) {
  const json& first = lines.steps.front()->at("layers").at(index);
  const std::size_t experts = first.at("load").size();
  const std::size_t columns = std::min(kHeatColumns, lines.steps.size());
  std::vector<std::vector<double>> loads(experts, std::vector<double>(columns, 0));
  std::vector<double> totals(columns, 0);
  for (std::size_t s = 0; s < lines.steps.size(); ++s) {
    const std::size_t column = s * columns / lines.steps.size();
    const json& load = lines.steps[s]->at("layers").at(index).at("load");
    for (std::size_t expert = 0; expert < experts; ++expert) {
      loads[expert][column] += load[expert].get<double>();
      totals[column] += load[expert].get<double>();
    }
  }
  for (auto& row : loads)
    for (std::size_t column = 0; column < columns; ++column)
      row[column] *= totals[column] > 0 ? static_cast<double>(experts) / totals[column] : 0;
  io::HeatMap map;
  map.title = fmt::format("Expert load, layer {}", first.at("layer").get<std::int64_t>());
  map.x_label = "step";
  map.y_label = "expert";
  map.value_label = "times the mean load";
  for (std::size_t expert = 0; expert < experts; ++expert) map.row_names.push_back(std::to_string(expert));
  map.column_names = {fmt::format("{}", step_of(*lines.steps.front())),
                      fmt::format("{}", step_of(*lines.steps.back()))};
  map.values = std::move(loads);
  map.high = 2.5;
  return io::heat_map_svg(map);
}

std::string shadow_section(const Lines& lines) {
  if (lines.shadows.empty()) return "";
  std::map<std::string, std::vector<ChartSeries>> by_product;
  std::string rows;
  for (const auto& [kind, products] : lines.shadows.back()->at("shadow").items())
    for (const auto& [product, figures] : products.items()) {
      by_product[product].push_back(
          series_of(kind, lines.shadows, fmt::format("/shadow/{}/{}/relative_error", kind, product)));
      rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{:.3e}</td><td>{:.2e}</td><td>{:.2e}</td></tr>\n",
                          io::xml_escaped(kind), product, figures.at("relative_error").get<double>(),
                          figures.at("flushed_share").get<double>(), figures.at("saturated_share").get<double>());
    }
  std::string out =
      "<h2>Products on the tensor core against FP32</h2>\n"
      "<p>The first micro-batch's products, multiplied a second time in FP32: norm of the difference over the norm of "
      "FP32's result.</p>\n<div class=\"charts\">\n";
  for (const auto& [product, series] : by_product)
    out += io::line_chart_svg({"Relative error, " + product, "step", "relative error (log scale)", series, true});
  return out + fmt::format(
                   "</div>\n<div class=\"scroll\"><table>\n<tr><th>layer</th><th>product</th>"
                   "<th>relative error at step {}</th><th>flushed to 0</th><th>saturated</th></tr>\n{}"
                   "</table></div>\n",
                   step_of(*lines.shadows.back()), rows);
}

std::string facts(const Lines& lines) {
  std::string rows;
  const auto row = [&rows](const std::string& name, const std::string& value) {
    rows += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", name, io::xml_escaped(value));
  };
  const json& header = lines.header;
  if (header.contains("recipe")) {
    const json& recipe = header.at("recipe");
    row("model", recipe.value("model", ""));
    row("numerics", recipe.value("numerics", "bf16"));
    row("seed", std::to_string(recipe.value("seed", std::int64_t{1})));
    row("parameters", std::to_string(header.at("parameters").get<std::int64_t>()));
  }
  if (!lines.steps.empty()) {
    const json& last = *lines.steps.back();
    row("steps",
        fmt::format("{} of {}", last.at("step").get<std::int64_t>(), header.value("total_steps", std::int64_t{0})));
    row("tokens", std::to_string(last.at("tokens").get<std::int64_t>()));
    row("training loss", fmt::format("{:.4f} nats a token", last.at("main_loss").get<double>()));
  }
  if (!lines.validations.empty()) {
    const json& validation = lines.validations.back()->at("validation");
    row("held-out text", fmt::format("{:.4f} nats a token, {:.4f} bits a byte", validation.at("loss").get<double>(),
                                     validation.at("bits_per_byte").get<double>()));
  }
  return "<div class=\"scroll\"><table>\n" + rows + "</table></div>\n";
}

}  // namespace

std::string run_report(const std::vector<json>& all) {
  const Lines lines = sorted_out(all);
  const std::string title = "Training run: " + lines.header.value("name", std::string("unnamed"));
  std::string body = fmt::format("<h1>{}</h1>\n{}", io::xml_escaped(title), facts(lines));
  body += "<h2>Course</h2>\n<div class=\"charts\">\n" + loss_charts(lines);
  const bool routed = !lines.steps.empty() && !lines.steps.front()->at("layers").empty();
  if (routed) body += violation_chart(lines);
  if (!lines.steps.empty()) body += speed_chart(lines);
  body += "</div>\n";
  if (routed) {
    body += "<h2>Expert load</h2>\n<div class=\"charts\">\n";
    for (std::size_t i = 0; i < lines.steps.front()->at("layers").size(); ++i) body += load_map(lines, i);
    body += "</div>\n";
  }
  body += shadow_section(lines);
  return io::html_page(title, body);
}

}  // namespace lastbit::train
