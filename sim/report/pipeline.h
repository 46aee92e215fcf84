// A pipeline's timeline as a trace and as text.
#pragma once

#include <string>

#include "sim/report/perfetto.h"
#include "sim/schedule/execute.h"
#include "sim/schedule/schedule.h"

namespace lastbit::sim::report {

// One track a rank below `process`, a span a verb, named by its label. scale: seconds of the trace for 1 s of the
// execution (for schedules in arbitrary units of time).
void add_pipeline(Trace& trace, int process, const schedule::Schedule& schedule, const schedule::Execution& execution,
                  double scale = 1);

// The verbs of one pipeline rank on a track of one's own choice.
void add_rank(Trace& trace, int process, int thread, const schedule::Schedule& schedule,
              const schedule::Execution& execution, int rank, double scale = 1);

// One line a rank, `columns` wide: F, B (full), b (input only), W, X (fused F&B) or '.' (idle), whatever the rank does
// in the middle of the column's time.
[[nodiscard]] std::string gantt(const schedule::Execution& execution, int columns);

}  // namespace lastbit::sim::report
