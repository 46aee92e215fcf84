#include "sim/report/pipeline.h"

#include <fmt/format.h>

namespace lastbit::sim::report {
namespace {

char letter(schedule::Verb verb) {
  switch (verb) {
    case schedule::Verb::kForward:
      return 'F';
    case schedule::Verb::kBackward:
      return 'B';
    case schedule::Verb::kBackwardInput:
      return 'b';
    case schedule::Verb::kWeight:
      return 'W';
    case schedule::Verb::kFused:
      return 'X';
  }
  return '?';
}

const char* category(schedule::Verb verb) {
  switch (verb) {
    case schedule::Verb::kForward:
      return "forward";
    case schedule::Verb::kBackward:
      return "backward";
    case schedule::Verb::kBackwardInput:
      return "input gradient";
    case schedule::Verb::kWeight:
      return "weight gradient";
    case schedule::Verb::kFused:
      return "forward and backward";
  }
  return "";
}

}  // namespace

void add_pipeline(Trace& trace, int process, const schedule::Schedule& schedule, const schedule::Execution& execution,
                  double scale) {
  trace.name_process(process, fmt::format("pipeline, {}", schedule.kind));
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    trace.name_thread(process, rank, fmt::format("rank {}", rank));
    add_rank(trace, process, rank, schedule, execution, rank, scale);
  }
}

void add_rank(Trace& trace, int process, int thread, const schedule::Schedule& schedule,
              const schedule::Execution& execution, int rank, double scale) {
  for (const schedule::TimedOp& timed : execution.timeline[static_cast<std::size_t>(rank)]) {
    trace.span(process, thread, label(timed.op, schedule.labels), category(timed.op.verb), {timed.start.s * scale},
               {timed.end.s * scale});
  }
}

std::string gantt(const schedule::Execution& execution, int columns) {
  std::string text;
  int rank = 0;
  for (const std::vector<schedule::TimedOp>& timeline : execution.timeline) {
    text += fmt::format("{:>4}  ", rank++);
    std::size_t next = 0;
    for (int column = 0; column < columns; ++column) {
      const double middle_s = (column + 0.5) / columns * execution.total.s;
      while (next < timeline.size() && timeline[next].end.s <= middle_s) ++next;
      const bool busy = next < timeline.size() && timeline[next].start.s <= middle_s;
      text += busy ? letter(timeline[next].op.verb) : '.';
    }
    text += '\n';
  }
  return text;
}

}  // namespace lastbit::sim::report
