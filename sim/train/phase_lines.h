// The phases of a job in words, for text and page.
#pragma once

#include <string>
#include <vector>

#include "sim/train/forecast.h"

namespace lastbit::sim::train {

// Rounded and grouped by commas.
[[nodiscard]] std::string thousands(double value);
// "context_extension" as "context extension".
[[nodiscard]] std::string phase_label(std::string name);

struct PhaseLine {
  std::string name;
  std::string sequence_tokens;
  std::string batch_sequences;
  std::string context_parallel;
  std::string data_parallel;
  std::string schedule;
  std::string micro_batches;  // a pipeline and step
  std::string steps;
  std::string step_s;
  std::string gpu_hours_k;
  std::string note;  // what of it is assumed; or that it is given
};

// In the job's order. Of a phase that is given only name, GPU-hours and note are not empty.
[[nodiscard]] std::vector<PhaseLine> phase_lines(const Forecast& forecast);

}  // namespace lastbit::sim::train
