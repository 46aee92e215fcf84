#include <fmt/format.h>

#include <cmath>

#include "core/error.h"
#include "sim/engine/engine.h"

namespace lastbit::sim::engine {

StreamId TaskGraph::add_stream(std::string name) {
  streams_.push_back({std::move(name)});
  return {static_cast<std::uint32_t>(streams_.size() - 1)};
}

LabelId TaskGraph::add_label(std::string_view text) {
  const auto [entry, added] = label_ids_.try_emplace(std::string(text), static_cast<std::uint32_t>(labels_.size()));
  if (added) labels_.emplace_back(text);
  return {entry->second};
}

TaskId TaskGraph::append(StreamId stream, double duration_s, LabelId label) {
  core::check(stream.index < streams_.size(), "a task's stream belongs to its graph");
  core::check(label.index < labels_.size(), "a task's label belongs to its graph");
  core::check(tasks_.size() < kNone, "a graph has fewer than 2^32 - 1 tasks");
  const auto id = static_cast<std::uint32_t>(tasks_.size());
  Stream& queue = streams_[stream.index];
  if (queue.last != kNone) tasks_[queue.last].next = id;
  queue.last = id;
  tasks_.push_back({duration_s, stream.index, label.index, kNone});
  return {id};
}

TaskId TaskGraph::add_task(StreamId stream, SimTime duration, LabelId label) {
  if (!std::isfinite(duration.s) || duration.s < 0) {
    core::fail_input("task {} on {}: found a duration of {} s, expected a finite one of at least 0",
                     labels_.at(label.index), streams_.at(stream.index).name, duration.s);
  }
  return append(stream, duration.s, label);
}

TaskId TaskGraph::add_served_task(StreamId stream, LabelId label) { return append(stream, -1, label); }

void TaskGraph::add_dependency(TaskId task, TaskId on, SimTime latency) {
  core::check(task.index < tasks_.size() && on.index < tasks_.size(), "a dependency's tasks belong to its graph");
  if (!std::isfinite(latency.s) || latency.s < 0) {
    core::fail_input("{} after {}: found a latency of {} s, expected a finite one of at least 0", describe(task),
                     describe(on), latency.s);
  }
  dependencies_.push_back({on.index, task.index, latency.s});
}

void TaskGraph::reserve(std::size_t tasks, std::size_t dependencies) {
  tasks_.reserve(tasks);
  dependencies_.reserve(dependencies);
}

std::string TaskGraph::describe(TaskId task) const {
  return fmt::format("{}: {}", streams_[tasks_[task.index].stream].name, label(task));
}

}  // namespace lastbit::sim::engine
