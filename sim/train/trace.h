// The timeline of a step as a trace.
#pragma once

#include <string>
#include <vector>

#include "sim/train/forecast.h"

namespace lastbit::sim::train {

// The ranks of a step that a trace shows.
struct TraceRanks {
  bool pipeline = true;      // one rank for each pipeline rank: all others do the same at the same time
  std::vector<int> ranks{};  // else these ranks of the world, ascending
};

// "pipeline", "all", or numbers and ranges as in "0-15,128,2047". Error(kInput): another text, a rank that is not
// there.
[[nodiscard]] TraceRanks parse_trace_ranks(const std::string& text, int world);

// Writes one step of the headline phase, by the path's extension (report::open_trace): a track a rank with its verbs
// and the optimiser, and a track for each link between pipeline ranks with what crosses it. World rank r is pipeline
// rank r / (world / pipeline ranks).
void write_trace(const Forecast& forecast, const std::string& path, const TraceRanks& ranks = {});

}  // namespace lastbit::sim::train
