// A pipeline's timeline as a picture: a self-contained SVG file.
#pragma once

#include <optional>
#include <string>

#include "sim/schedule/execute.h"
#include "sim/schedule/overlap.h"
#include "sim/schedule/schedule.h"

namespace lastbit::sim::report {

// The operators of one chunk, drawn below the ranks on their two streams.
struct ChunkPicture {
  std::string title;
  schedule::ChunkRun run;
};

// A row a rank: F, full and input-only backwards, weights and fused pairs (F above, B below) in colours of their own,
// darker for a rank's second slot and those after it; micro-batch numbers where they fit, labels and times as
// tooltips; at the right each rank's bubble as a share of the total and its peak of micro-batches in flight.
// Errors (bad input): more than 200,000 verbs.
[[nodiscard]] std::string gantt_svg(const schedule::Schedule& schedule, const schedule::Execution& execution,
                                    const std::optional<ChunkPicture>& chunk = {});

}  // namespace lastbit::sim::report
