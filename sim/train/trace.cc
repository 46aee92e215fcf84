#include "sim/train/trace.h"

#include "sim/report/perfetto.h"
#include "sim/report/pipeline.h"

namespace lastbit::sim::train {

void write_trace(const Forecast& forecast, const std::string& path) {
  const PhaseForecast& main = forecast.main();
  report::ChromeTrace trace(path);
  report::add_pipeline(trace, 0, main.lists, main.execution);
  for (int rank = 0; rank < main.lists.ranks; ++rank) {
    trace.span(0, rank, "optimizer", "optimizer", {main.pipeline_s}, {main.step_s});
  }
  trace.finish();
}

}  // namespace lastbit::sim::train
