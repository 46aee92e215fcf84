// Published measurements of training runs: data/measurements/training. Targets that forecasts stand beside, never
// calibration.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace lastbit::sim::train {

struct PublishedFigure {
  double value = 0;
  std::string source;
  std::string status;  // how sure we are of the figure: where it was checked, or that it was not
};

// Figures by the JSON key of the forecast they belong beside: "step_s", "breakdown.F_s",
// "phases.pretraining.gpu_hours".
using Published = std::map<std::string, PublishedFigure>;

// Of this model on this cluster in this job; empty if none was published.
[[nodiscard]] Published published_figures(const std::string& model, const std::string& cluster, const std::string& job);

}  // namespace lastbit::sim::train
