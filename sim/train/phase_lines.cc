#include "sim/train/phase_lines.h"

#include <fmt/format.h>

namespace lastbit::sim::train {
namespace {

PhaseLine predicted_line(const PhaseForecast& forecast) {
  const Phase& phase = forecast.phase;
  return {phase_label(phase.name),
          thousands(phase.sequence_tokens),
          thousands(phase.batch_sequences),
          fmt::format("{}", phase.context_parallel),
          fmt::format("{}", forecast.groups.data_parallel),
          forecast.schedule,
          fmt::format("{}", forecast.groups.micro_batches),
          thousands(forecast.steps),
          fmt::format("{:.3f}", forecast.step_s),
          fmt::format("{:.1f}", forecast.gpu_hours / 1e3),
          phase.assumed.empty() ? "" : "assumed " + phase.assumed};
}

}  // namespace

std::string thousands(double value) {
  std::string digits = fmt::format("{:.0f}", value);
  for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

std::string phase_label(std::string name) {
  for (char& c : name) c = c == '_' ? ' ' : c;
  return name;
}

std::vector<PhaseLine> phase_lines(const Forecast& forecast) {
  std::vector<PhaseLine> lines;
  std::size_t predicted = 0;
  for (const Phase& phase : forecast.job.phases) {
    if (!phase.given_gpu_hours) {
      lines.push_back(predicted_line(forecast.phases[predicted++]));
      continue;
    }
    PhaseLine line;
    line.name = phase_label(phase.name);
    line.gpu_hours_k = fmt::format("{:.1f}", *phase.given_gpu_hours / 1e3);
    line.note = "given, not predicted";
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace lastbit::sim::train
