#include "sim/train/forecast_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/html_page.h"
#include "io/svg_chart.h"
#include "sim/report/gantt_svg.h"
#include "sim/train/phase_lines.h"

namespace lastbit::sim::train {
namespace {

std::string title_of(const Forecast& forecast) {
  std::string title = fmt::format("{} on {}, {}", forecast.model_name, forecast.cluster.name, forecast.job.name);
  for (const std::string& setting : forecast.settings) title += ", " + setting;
  return title;
}

// Names of assumptions as words that may break over lines.
std::string spaced(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string key_figure(const char* label, const std::string& value, const std::string& note) {
  return fmt::format("<div><span>{}</span><strong>{}</strong><span>{}</span></div>", label, io::xml_escaped(value),
                     io::xml_escaped(note));
}

// "published VALUE (ERROR %)", or what stands there otherwise.
std::string beside(const Forecast& forecast, const char* key, double predicted, double scale, int digits,
                   const std::string& otherwise) {
  const auto found = forecast.published.find(key);
  if (found == forecast.published.end()) return otherwise;
  return fmt::format("published {:.{}f} ({:+.1f} %)", found->second.value * scale, digits,
                     100 * (predicted / found->second.value - 1));
}

std::string key_figures(const Forecast& forecast) {
  const PhaseForecast& main = forecast.main();
  std::string out = "<div class=\"key\">";
  const Uncertainty& u = forecast.uncertainty;
  const auto range = [&u](double low, double high, int digits) {
    return u.samples > 0 ? fmt::format("P5 {:.{}f} to P95 {:.{}f}", low, digits, high, digits) : "";
  };
  const auto joined = [](const std::string& first, const std::string& second) {
    return first + (first.empty() || second.empty() ? "" : "; ") + second;
  };
  const double low = forecast.gpu_hours_at(u.p5_s) / 1e3;
  const double high = forecast.gpu_hours_at(u.p95_s) / 1e3;
  const double usd = forecast.job.usd_per_gpu_hour;
  out += key_figure("Step", fmt::format("{:.2f} s", main.step_s),
                    joined(beside(forecast, "step_s", main.step_s, 1, 2, ""), range(u.p5_s, u.p95_s, 2)));
  out += key_figure("Tokens a day", fmt::format("{:.1f} billion", forecast.tokens_per_day / 1e9),
                    beside(forecast, "tokens_per_day", forecast.tokens_per_day, 1e-9, 1, ""));
  out += key_figure("MFU, causal", fmt::format("{:.1f} %", 100 * forecast.mfu_causal),
                    beside(forecast, "mfu_causal", forecast.mfu_causal, 100, 1, "of the BF16 peak"));
  out += key_figure("GPU-hours", fmt::format("{:.1f} thousand", forecast.gpu_hours_total / 1e3),
                    joined(beside(forecast, "gpu_hours_total", forecast.gpu_hours_total, 1e-3, 1,
                                  fmt::format("{:.1f} days", forecast.hours_total / 24)),
                           range(low, high, 0)));
  out += key_figure("Cost", fmt::format("{:.3f} million USD", forecast.usd_total / 1e6),
                    joined(fmt::format("at {:g} USD a GPU-hour", usd), range(low * usd / 1e3, high * usd / 1e3, 2)));
  out += key_figure("Memory", fmt::format("{:.1f} GiB", main.memory.peak().needed_bytes / kGiB),
                    fmt::format("of {:.1f} on pipeline rank {}", main.memory.capacity_bytes / kGiB, main.memory.worst));
  return out + "</div>\n";
}

std::string breakdown(const Forecast& forecast) {
  const Breakdown& b = forecast.main().first;
  std::vector<std::vector<std::string>> rows{{"First pipeline rank, seconds", "forecast", "published", "error"}};
  const auto row = [&](const char* label, const char* key, double value) {
    const auto found = forecast.published.find(std::string("breakdown.") + key);
    const bool known = found != forecast.published.end();
    rows.push_back({label, fmt::format("{:.2f}", value), known ? fmt::format("{:.2f}", found->second.value) : "-",
                    known ? fmt::format("{:+.1f} %", 100 * (value / found->second.value - 1)) : ""});
  };
  row("forward F", "F_s", b.forward_s);
  row("backward B", "B_s", b.backward_s);
  row("weight gradient W", "W_s", b.weight_s);
  row("overlapped F&B", "FB_s", b.fused_s);
  row("bubble", "bubble_s", b.bubble_s);
  row("optimiser", "optimizer_s", b.optimizer_s);
  row("of all these, exposed communication", "exposed_comm_s", b.exposed_comm_s);
  return io::html_table("Where the step's time goes", rows);
}

std::string phases(const Forecast& forecast) {
  if (forecast.job.phases.size() == 1) return "<p>One phase, as above.</p>\n";
  std::vector<std::vector<std::string>> rows{{"Phase", "tokens", "sequences", "CP", "DP", "schedule", "micro-batches",
                                              "steps", "step, s", "GPU-hours, thousand", ""}};
  for (const PhaseLine& line : phase_lines(forecast)) {
    rows.push_back({line.name, line.sequence_tokens, line.batch_sequences, line.context_parallel, line.data_parallel,
                    line.schedule, line.micro_batches, line.steps, line.step_s, line.gpu_hours_k, line.note});
  }
  return io::html_table("Phases, one by one", rows);
}

std::string memory_chart(const Forecast& forecast) {
  const JobMemory& memory = forecast.main().memory;
  const RankMemory& rank = memory.peak();
  io::LineChart chart{fmt::format("Pipeline rank {}", memory.worst), "seconds of the step", "GiB", {{"held", {}}}};
  std::vector<std::pair<double, double>>& points = chart.series.front().points;
  points.emplace_back(0, rank.held_bytes / kGiB);
  for (const memory::Level& level : rank.timeline.levels) {
    points.emplace_back(level.at.s, (rank.held_bytes + level.bytes) / kGiB);
  }
  points.emplace_back(forecast.main().step_s, points.back().second);
  chart.y_low = 0;
  chart.steps = true;
  chart.limit = io::ChartLimit{memory.capacity_bytes / kGiB, "capacity"};
  std::string out = "<div class=\"charts\">" + io::line_chart_svg(chart) + "</div>\n";
  std::vector<io::Bar> bars;
  for (const memory::Part& part : rank.parts) {
    if (part.bytes >= 0.01 * rank.peak_bytes) {
      bars.push_back({part.name, part.bytes, fmt::format("{:.2f} GiB", part.bytes / kGiB)});
    }
  }
  out += fmt::format("<p>Alive at the peak, {:.2f} s into the step:</p>\n", rank.timeline.peak_at.s);
  return out + io::bar_chart("Memory at the peak by part", bars);
}

io::HeatMap link_map(const char* link, const std::vector<std::vector<double>>& seconds, double step_s) {
  io::HeatMap map;
  map.title = fmt::format("{} of one expert-parallel group", link);
  map.x_label = "expert rank";
  map.y_label = "pipeline rank";
  map.value_label = "% of the step";
  map.high = 100 * link_spread(seconds).most_s / step_s;
  for (std::size_t rank = 0; rank < seconds.size(); ++rank) {
    map.row_names.push_back(fmt::format("{}", rank));
    map.values.emplace_back();
    for (const double link_s : seconds[rank]) map.values.back().push_back(100 * link_s / step_s);
  }
  map.column_names = {"0", fmt::format("{}", seconds.front().size() - 1)};
  return map;
}

// With a replayed trace every GPU's links differ; under even routing all of a pipeline rank are alike.
std::string single_links(const Forecast& forecast) {
  if (!forecast.replay) return "";
  const GroupReplay& replay = *forecast.replay;
  return fmt::format(
      "<h3>Experts' traffic, link by link, as replayed</h3>\n<p>Expert rank r: node r / {0}, plane r mod "
      "{0}.</p>\n<div class=\"charts\">{1}{2}</div>\n",
      replay.ranks_per_node, io::heat_map_svg(link_map("NICs", replay.nic_s, replay.step_s)),
      io::heat_map_svg(link_map("NVLinks", replay.nvlink_s, replay.step_s)));
}

std::string links(const Forecast& forecast) {
  std::vector<std::string> columns(kLinkWorkNames.begin(), kLinkWorkNames.end());
  std::vector<io::ShadedRow> rows;
  for (std::size_t rank = 0; rank < forecast.links.size(); ++rank) {
    io::ShadedRow row{fmt::format("rank {}", rank), {}};
    for (const double seconds : forecast.links[rank]) row.shares.push_back(seconds / forecast.main().step_s);
    rows.push_back(std::move(row));
  }
  return io::shaded_table("How busy links are, percent of the step", columns, rows) + single_links(forecast);
}

std::string confidence(const Forecast& forecast) {
  if (forecast.bound_step_s == 0) return "<p>Not asked for (--samples 0).</p>\n";
  std::vector<io::Bar> bars;
  for (const Contribution& entry : forecast.contributions) {
    if (entry.seconds > 0) bars.push_back({entry.cause, entry.seconds, fmt::format("{:.2f} s", entry.seconds)});
  }
  std::string out = "<p>Seconds that the step loses without one cause; they overlap.</p>\n" +
                    io::bar_chart("What each cause adds to the step", bars);
  if (forecast.uncertainty.samples == 0) return out;
  std::vector<io::Swing> swings;
  for (const Uncertainty::Swing& swing : forecast.uncertainty.swings) {
    swings.push_back({fmt::format("{} {:g} to {:g}", spaced(swing.name), swing.low, swing.high), swing.step_at_low_s,
                      swing.step_at_high_s,
                      fmt::format("{:.2f} s", std::abs(swing.step_at_high_s - swing.step_at_low_s))});
  }
  out += "<h3>If one assumption is moved over its range</h3>\n";
  return out + io::swing_chart("Step over each assumption's range", forecast.main().step_s, swings, "s");
}

std::string assumptions(const Forecast& forecast) {
  std::vector<std::vector<std::string>> rows{{"Assumption", "value", "unit", "why"}};
  for (const cost::Assumption& entry : forecast.job.assumptions.entries()) {
    rows.push_back({entry.name, fmt::format("{:g}", entry.value), entry.unit, entry.source});
  }
  std::string out = io::html_table("Assumptions", rows);
  out += fmt::format("<p>{}</p>\n", kNetworkNote);
  std::vector<std::vector<std::string>> census{{"Operator times", "operators", "share of their time"}};
  double total = 0;
  for (const double seconds : forecast.main().census.seconds) total += seconds;
  for (std::size_t i = 0; i < cost::kNumProvenances; ++i) {
    census.push_back({cost::kProvenanceNames[i], fmt::format("{}", forecast.main().census.operators[i]),
                      fmt::format("{:.1f} %", 100 * forecast.main().census.seconds[i] / total)});
  }
  out += io::html_table("Where operator times come from", census);
  for (const std::string& source : forecast.calibration_sources) out += "<p>" + io::xml_escaped(source) + "</p>\n";
  return out;
}

std::string timeline(const Forecast& forecast) {
  const PhaseForecast& main = forecast.main();
  return "<div class=\"scroll\" role=\"img\" aria-label=\"Timeline of every pipeline rank over one step, in "
         "seconds\">" +
         report::gantt_svg(main.lists, main.execution) + "</div>\n";
}

// The same section of every run, side by side.
template <typename Section>
std::string section(const char* heading, const std::vector<const Forecast*>& forecasts, Section&& content) {
  std::string out = fmt::format("<h2>{}</h2>\n<div class=\"runs{}\">\n", heading, forecasts.size() > 1 ? " two" : "");
  for (const Forecast* forecast : forecasts) out += "<section>" + content(*forecast) + "</section>\n";
  return out + "</div>\n";
}

}  // namespace

std::string to_page(const std::vector<const Forecast*>& forecasts) {
  std::string body = "<h1>Training forecast</h1>\n";
  body += section("Runs", forecasts, [](const Forecast& forecast) {
    const PhaseForecast& main = forecast.main();
    return fmt::format(
               "<p><b>{}</b></p><p>{} GPUs ({}); {}: {} pipelines of {} ranks, {} micro-batches each; {} "
               "sequences of {} tokens a step.</p>\n",
               io::xml_escaped(title_of(forecast)), main.groups.world, io::xml_escaped(forecast.cluster.gpu.name),
               io::xml_escaped(main.schedule), main.groups.data_parallel, main.lists.ranks, main.groups.micro_batches,
               main.phase.batch_sequences, main.phase.sequence_tokens) +
           key_figures(forecast);
  });
  body += section("Where the step's time goes", forecasts, breakdown);
  body += section("Phases", forecasts, phases);
  body += "<h2>Timeline of one step (seconds; scroll sideways)</h2>\n";
  for (const Forecast* forecast : forecasts) body += timeline(*forecast);
  body += section("What the step is made of, and how sure that is", forecasts, confidence);
  body += section("Memory of the fullest rank", forecasts, memory_chart);
  body += section("Links: percent of the step that each is busy sending", forecasts, links);
  body += section("Assumptions and sources", forecasts, assumptions);
  body += "<footer>Made by Lastbit. Nothing here was measured on a cluster; published figures stand beside.</footer>\n";
  return io::html_page("Training forecast: " + title_of(*forecasts.front()), body);
}

}  // namespace lastbit::sim::train
