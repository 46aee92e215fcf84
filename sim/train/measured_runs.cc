#include "sim/train/measured_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "sim/cluster/description.h"
#include "sim/cluster/quantity.h"
#include "sim/train/forecast.h"
#include "sim/train/published.h"

namespace lastbit::sim::train {
namespace {

using nlohmann::json;

constexpr std::array kFigures{"step_s", "tokens_per_gpu_s", "tokens_per_day", "gpu_hours_total"};

MeasuredRun read_run(const io::ConfigReader& entry, const std::string& source, const std::string& status) {
  MeasuredRun run;
  run.name = entry.require<std::string>("name");
  run.model = entry.require<std::string>("model");
  run.cluster = entry.require<std::string>("cluster");
  run.job = entry.require<std::string>("job");
  run.settings = entry.get_or<std::vector<std::string>>("set", {});
  run.calibrates = entry.get_or<std::string>("calibrates", "");
  run.source = source;
  run.status = status;
  for (const char* key : kFigures) {
    if (entry.has(key)) run.figures.push_back({key, entry.require_in(key, 1e-9, 1e18)});
  }
  if (entry.has("peak_memory")) {
    const std::string text = entry.require<std::string>("peak_memory");
    run.figures.push_back({"memory.peak_bytes",
                           cluster::parse_quantity(text, cluster::Dimension::kBytes, entry.file() + ": " + run.name)});
  }
  if (run.figures.empty())
    entry.fail("step_s", "a figure: step_s, tokens_per_gpu_s, tokens_per_day or gpu_hours_total");
  entry.finish();
  return run;
}

// The figures of data/measurements/training belong beside a preset job as it is.
std::vector<MeasuredRun> preset_runs() {
  std::vector<MeasuredRun> runs;
  for (const std::string& name : cluster::description_names("measurements/training")) {
    const std::string path = cluster::description_path("measurements/training", name, "measurement");
    const json object = io::load_config_file(path);
    std::vector<std::string> jobs;  // in the order of the file
    for (const json& entry : object.at("measurement")) {
      for (const json& job : entry.at("jobs")) {
        if (std::find(jobs.begin(), jobs.end(), job) == jobs.end()) jobs.push_back(job.get<std::string>());
      }
    }
    std::set<std::string> taken;  // a figure stands beside the first job that has it
    for (const std::string& job : jobs) {
      MeasuredRun run;
      run.name = fmt::format("{}, {}", name, job);
      run.model = object.at("model").get<std::string>();
      run.cluster = object.at("cluster").get<std::string>();
      run.job = job;
      for (const auto& [key, figure] : published_figures(run.model, run.cluster, job)) {
        if (!taken.insert(key).second) continue;
        run.figures.push_back({key, figure.value});
        if (run.source.empty() || key == "step_s" || key == "gpu_hours_total") {
          run.source = figure.source;
          run.status = figure.status;
        }
      }
      const auto first = std::find_if(run.figures.begin(), run.figures.end(), [](const MeasuredRun::Figure& figure) {
        return figure.key == "step_s" || figure.key == "gpu_hours_total";
      });
      if (first != run.figures.end()) std::rotate(run.figures.begin(), first, first + 1);
      runs.push_back(std::move(run));
    }
  }
  return runs;
}

json::json_pointer pointer(std::string key) {
  std::replace(key.begin(), key.end(), '.', '/');
  return json::json_pointer("/" + key);
}

void compare(const MeasuredRun& run, Validation& validation) {
  ForecastRequest request;
  request.model = run.model;
  request.cluster = run.cluster;
  request.job = run.job;
  request.settings = run.settings;
  request.samples = 0;
  request.force = true;  // it ran
  json forecast;
  json unfitted;  // where efficiencies were found from a training run: without them
  try {
    const Forecast found = forecast_training(request);
    forecast = to_json(found);
    if (found.fitted_efficiencies) {
      request.settings.emplace_back("cluster.calibration=");
      unfitted = to_json(forecast_training(request));
    }
  } catch (const core::Error& error) {
    core::fail_input("{}: {}", run.name, error.what());
  }
  bool headline = true;
  for (const MeasuredRun::Figure& figure : run.figures) {
    const json::json_pointer place = pointer(figure.key);
    if (!forecast.contains(place)) continue;
    const json& holder = forecast.at(place.parent_pointer());
    if (holder.is_object() && !holder.value("predicted", true)) continue;  // given, not predicted
    const double predicted = forecast.at(place).get<double>();
    Comparison row{run.name,
                   figure.key,
                   run.model,
                   run.cluster,
                   figure.value,
                   predicted,
                   predicted / figure.value - 1,
                   run.calibrates,
                   run.source,
                   std::exchange(headline, false)};
    if (!unfitted.is_null()) row.unfitted_error = unfitted.at(place).get<double>() / figure.value - 1;
    validation.rows.push_back(std::move(row));
  }
}

ErrorSummary summary_of(std::vector<double> errors) {
  ErrorSummary summary;
  summary.runs = static_cast<int>(errors.size());
  if (errors.empty()) return summary;
  std::sort(errors.begin(), errors.end());
  const std::size_t half = errors.size() / 2;
  summary.median = errors.size() % 2 == 1 ? errors[half] : (errors[half - 1] + errors[half]) / 2;
  summary.worst = errors.back();
  return summary;
}

json summary_json(const ErrorSummary& summary) {
  return {{"runs", summary.runs}, {"median_abs_error", summary.median}, {"worst_abs_error", summary.worst}};
}

}  // namespace

std::vector<MeasuredRun> load_runs(const std::string& path) {
  const io::ConfigReader reader(io::load_config_file(path), path);
  (void)reader.require_in("schema", std::int64_t{2}, std::int64_t{2});
  const std::string source = reader.require<std::string>("source");
  const std::string status = reader.require<std::string>("status");
  reader.ignore("note");
  std::vector<MeasuredRun> runs;
  for (const io::ConfigReader& entry : reader.require_objects("case")) runs.push_back(read_run(entry, source, status));
  reader.finish();
  return runs;
}

std::vector<MeasuredRun> published_runs() {
  std::vector<MeasuredRun> runs = preset_runs();
  for (const std::string& name : cluster::description_names("measurements/runs")) {
    std::vector<MeasuredRun> more = load_runs(cluster::description_path("measurements/runs", name, "measurement"));
    runs.insert(runs.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return runs;
}

Validation validate_runs(const std::vector<MeasuredRun>& runs) {
  Validation validation;
  for (const MeasuredRun& run : runs) compare(run, validation);
  std::vector<double> errors;
  std::vector<double> unfitted;
  std::map<std::string, std::vector<double>> by_cluster;
  for (const Comparison& row : validation.rows) {
    if (!row.headline) continue;
    unfitted.push_back(std::abs(row.unfitted_error.value_or(row.error)));
    if (!row.calibrates.empty()) continue;
    errors.push_back(std::abs(row.error));
    by_cluster[row.cluster].push_back(std::abs(row.error));
  }
  validation.all = summary_of(errors);
  validation.unfitted = summary_of(unfitted);
  for (const auto& [cluster, own] : by_cluster) validation.clusters.emplace_back(cluster, summary_of(own));
  return validation;
}

json to_json(const Validation& validation) {
  json rows = json::array();
  for (const Comparison& row : validation.rows) {
    rows.push_back({{"run", row.run},
                    {"model", row.model},
                    {"cluster", row.cluster},
                    {"key", row.key},
                    {"measured", row.measured},
                    {"predicted", row.predicted},
                    {"error", row.error},
                    {"error_without_fitted_efficiencies", row.unfitted_error ? json(*row.unfitted_error) : json()},
                    {"counted", row.headline && row.calibrates.empty()},
                    {"calibrates", row.calibrates},
                    {"source", row.source}});
  }
  json clusters = json::object();
  for (const auto& [cluster, summary] : validation.clusters) clusters[cluster] = summary_json(summary);
  return {{"schema_version", 2},
          {"rows", std::move(rows)},
          {"counted", summary_json(validation.all)},
          {"clusters", std::move(clusters)},
          {"without_fitted_efficiencies", summary_json(validation.unfitted)}};
}

std::string to_text(const Validation& validation) {
  std::string out = fmt::format("{:<58}{:<24}{:>12}{:>12}{:>10}\n", "run", "figure", "measured", "predicted", "error");
  std::string source;
  for (const Comparison& row : validation.rows) {
    if (row.source != source) out += fmt::format("\n{}\n", source = row.source);
    const bool bytes = row.key == "memory.peak_bytes";
    const double unit = bytes ? 1.0 / (1 << 30) : 1;
    out += fmt::format("  {:<56}{:<24}{:>12.5g}{:>12.5g}{:>+8.1f} %{}\n", row.headline ? row.run : "",
                       bytes ? "peak memory, GiB" : row.key, row.measured * unit, row.predicted * unit, 100 * row.error,
                       row.calibrates.empty() || !row.headline ? "" : "  calibrates " + row.calibrates);
  }
  const auto line = [&out](const std::string& name, const ErrorSummary& summary) {
    out += fmt::format("  {:<56}{:>4} runs   median {:>5.1f} %   worst {:>5.1f} %\n", name, summary.runs,
                       100 * summary.median, 100 * summary.worst);
  };
  out += "\nAbsolute errors, first figure of each run; runs that calibrate are not counted\n";
  for (const auto& [cluster, summary] : validation.clusters) line(cluster, summary);
  line("all", validation.all);
  line("all, without efficiencies found from training runs", validation.unfitted);
  return out;
}

}  // namespace lastbit::sim::train
