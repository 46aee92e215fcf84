#include "sim/memory/timeline.h"

#include <algorithm>

namespace lastbit::sim::memory {
namespace {

using schedule::TimedOp;
using schedule::Verb;

struct Change {
  double at_s;
  int sign;  // +1: a forward begins, -1: a weight part has ended
  int stage;
};

std::vector<Change> changes(const schedule::Schedule& schedule, const std::vector<TimedOp>& timeline, int rank) {
  std::vector<Change> result;
  for (const TimedOp& timed : timeline) {
    const int stage = schedule.at(rank, timed.op.chunk.slot).stage;
    switch (timed.op.verb) {
      case Verb::kForward:
        result.push_back({timed.start.s, 1, stage});
        break;
      case Verb::kBackward:
      case Verb::kWeight:
        result.push_back({timed.end.s, -1, stage});
        break;
      case Verb::kBackwardInput:
        break;
      case Verb::kFused:
        result.push_back({timed.start.s, 1, stage});
        result.push_back({timed.end.s, -1, schedule.at(rank, timed.op.second.slot).stage});
        break;
    }
  }
  // What ends makes room before what begins at the same time.
  std::stable_sort(result.begin(), result.end(), [](const Change& a, const Change& b) {
    return a.at_s != b.at_s ? a.at_s < b.at_s : a.sign < b.sign;
  });
  return result;
}

}  // namespace

RankTimeline rank_timeline(const schedule::Schedule& schedule, const schedule::Execution& execution, int rank,
                           const std::vector<double>& stage_bytes) {
  RankTimeline result;
  std::vector<int> alive(stage_bytes.size(), 0);
  double bytes = 0;
  for (const Change& change : changes(schedule, execution.timeline[static_cast<std::size_t>(rank)], rank)) {
    const auto stage = static_cast<std::size_t>(change.stage);
    alive[stage] += change.sign;
    bytes += change.sign * stage_bytes[stage];
    result.levels.push_back({{change.at_s}, bytes});
    if (bytes > result.peak_bytes) {
      result.peak_bytes = bytes;
      result.peak_at = {change.at_s};
      result.in_flight_at_peak = alive;
    }
  }
  if (result.in_flight_at_peak.empty()) result.in_flight_at_peak.assign(stage_bytes.size(), 0);
  return result;
}

}  // namespace lastbit::sim::memory
