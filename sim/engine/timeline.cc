#include "sim/engine/timeline.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace lastbit::sim::engine {
namespace {

constexpr double kMostSamples = 1e7;

void add_to(FoldedTimeline::Sum& sum, SimTime start, SimTime end) {
  ++sum.tasks;
  sum.busy += end - start;
  sum.first_start = std::min(sum.first_start, start);
  sum.last_end = std::max(sum.last_end, end);
}

}  // namespace

FoldedTimeline::FoldedTimeline(const TaskGraph& graph)
    : graph_(graph), streams_(graph.num_streams()), labels_(graph.num_labels()) {}

void FoldedTimeline::ended(TaskId task, SimTime start, SimTime end) {
  const TaskGraph::Task& ran = graph_.tasks()[task.index];
  add_to(streams_[ran.stream], start, end);
  add_to(labels_[ran.label], start, end);
}

SampledTimeline::SampledTimeline(const TaskGraph& graph, SimTime period)
    : graph_(graph), period_(period), streams_(graph.num_streams()) {
  if (!std::isfinite(period.s) || period.s <= 0)
    core::fail_input("a timeline's period is {} s, expected a finite one above 0", period.s);
}

void SampledTimeline::ended(TaskId task, SimTime start, SimTime end) {
  const double first = std::ceil(start.s / period_.s);
  if (first * period_.s >= end.s) return;
  if (end.s / period_.s > kMostSamples)
    core::fail_input("a timeline of {} s sampled every {} s, expected at most {} samples", end.s, period_.s,
                     kMostSamples);
  std::vector<std::uint32_t>& stream = streams_[graph_.tasks()[task.index].stream];
  for (auto sample = static_cast<std::size_t>(first); static_cast<double>(sample) * period_.s < end.s; ++sample) {
    if (sample >= stream.size()) stream.resize(sample + 1, TaskGraph::kNone);
    stream[sample] = task.index;
    samples_ = std::max(samples_, sample + 1);
  }
}

std::uint32_t SampledTimeline::at(StreamId stream, std::size_t sample) const {
  const std::vector<std::uint32_t>& tasks = streams_.at(stream.index);
  return sample < tasks.size() ? tasks[sample] : TaskGraph::kNone;
}

}  // namespace lastbit::sim::engine
