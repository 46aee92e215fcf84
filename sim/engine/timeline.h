// What is kept of a run: every task's times (Timeline, in engine.h), sums, or samples.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/engine/engine.h"

namespace lastbit::sim::engine {

// Sums by stream and by label: memory for streams and labels only, however many tasks run.
class FoldedTimeline : public Observer {
 public:
  struct Sum {
    std::int64_t tasks = 0;
    SimTime busy;
    SimTime first_start = kNever;
    SimTime last_end;
  };

  explicit FoldedTimeline(const TaskGraph& graph);
  void ended(TaskId task, SimTime start, SimTime end) override;

  [[nodiscard]] const std::vector<Sum>& streams() const { return streams_; }  // by stream index
  [[nodiscard]] const std::vector<Sum>& labels() const { return labels_; }    // by label index

 private:
  const TaskGraph& graph_;
  std::vector<Sum> streams_;
  std::vector<Sum> labels_;
};

// What each stream runs at 0, period, 2 period, ...: memory for streams x samples.
class SampledTimeline : public Observer {
 public:
  // period: > 0 and finite. Errors (bad input): another one, or a run of more than 10 million samples.
  SampledTimeline(const TaskGraph& graph, SimTime period);
  void ended(TaskId task, SimTime start, SimTime end) override;

  // The task that the stream runs at the sample (it has started and not ended), or TaskGraph::kNone when it idles.
  [[nodiscard]] std::uint32_t at(StreamId stream, std::size_t sample) const;
  // Samples up to the last one at which any stream ran a task.
  [[nodiscard]] std::size_t samples() const { return samples_; }

 private:
  const TaskGraph& graph_;
  SimTime period_;
  std::size_t samples_ = 0;
  std::vector<std::vector<std::uint32_t>> streams_;  // [streams][samples so far]
};

}  // namespace lastbit::sim::engine
