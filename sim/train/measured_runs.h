// Published measurements of training runs on any cluster, and the forecast of each: data/measurements.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lastbit::sim::train {

// A run as somebody measured it.
struct MeasuredRun {
  std::string name;
  std::string model;
  std::string cluster;
  std::string job;
  std::vector<std::string> settings;  // as of --set
  std::string calibrates;             // what of data/calibration was found from it; empty: nothing
  std::string source;
  std::string status;
  struct Figure {
    std::string key;  // of the forecast's JSON, "." between levels
    double value = 0;
  };
  std::vector<Figure> figures;
};

// One figure beside its forecast.
struct Comparison {
  std::string run;
  std::string key;
  std::string model;
  std::string cluster;
  double measured = 0;
  double predicted = 0;
  double error = 0;  // predicted / measured - 1
  std::string calibrates;
  std::string source;
  bool headline = false;  // the run's first figure: what medians count
  // Where the cluster's efficiencies were found from training runs: the error with those of the job instead.
  std::optional<double> unfitted_error = {};
};

struct ErrorSummary {
  int runs = 0;
  double median = 0;  // of absolute errors
  double worst = 0;
};

struct Validation {
  std::vector<Comparison> rows;
  // Over the headline figures of runs that calibrate nothing; the same by cluster.
  ErrorSummary all;
  std::vector<std::pair<std::string, ErrorSummary>> clusters;
  // Over all runs, none of which then calibrates anything.
  ErrorSummary unfitted;
};

// All of data/measurements: runs/*.toml, and training/*.toml with the runs of its jobs.
[[nodiscard]] std::vector<MeasuredRun> published_runs();
// One file of runs, in the form of data/measurements/runs. Error(kInput): unknown keys, a run without a figure.
[[nodiscard]] std::vector<MeasuredRun> load_runs(const std::string& path);

// Forecasts every run with the calibration as it is. Error(kInput): what a forecast refuses, with the run's name.
[[nodiscard]] Validation validate_runs(const std::vector<MeasuredRun>& runs);
[[nodiscard]] nlohmann::json to_json(const Validation& validation);
[[nodiscard]] std::string to_text(const Validation& validation);

}  // namespace lastbit::sim::train
