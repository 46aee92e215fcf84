#include "sim/engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "sim/engine/event_queue.h"

namespace lastbit::sim::engine {
namespace {

// One run: what each task still waits for, and the queue of what happens next.
class Run {
 public:
  // observer: null to record.
  Run(const TaskGraph& graph, Observer* observer, Server* server)
      : graph_(graph), observer_(observer), server_(server) {
    const std::size_t tasks = graph.tasks().size();
    timeline_.start.assign(tasks, {});
    if (observer == nullptr) timeline_.end.assign(tasks, {});
    waits_.assign(tasks, 0);
    index_dependencies();
  }

  Timeline finish() && {
    for (std::uint32_t task = 0; task < waits_.size(); ++task)
      if (waits_[task] == 0) start(task, 0);
    while (step()) {
    }
    if (finished_ < waits_.size()) report_cycle();
    return std::move(timeline_);
  }

 private:
  struct Successor {
    std::uint32_t task;
    double latency_s;
  };

  // Groups the dependencies by the task that is waited for.
  void index_dependencies() {
    first_.assign(waits_.size() + 1, 0);
    for (const TaskGraph::Dependency& edge : graph_.dependencies()) {
      ++first_[edge.on + 1];
      ++waits_[edge.task];
    }
    for (std::size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
    successors_.resize(graph_.dependencies().size());
    std::vector<std::uint32_t> fill(first_.begin(), first_.end() - 1);
    for (const TaskGraph::Dependency& edge : graph_.dependencies())
      successors_[fill[edge.on]++] = {edge.task, edge.latency_s};
    for (const TaskGraph::Task& task : graph_.tasks())
      if (task.next != TaskGraph::kNone) ++waits_[task.next];
  }

  // Everything that `task` waits for is known: it starts at `time_s`, which may lie ahead.
  void start(std::uint32_t task, double time_s) {
    const double duration_s = graph_.tasks()[task].duration_s;
    timeline_.start[task].s = time_s;
    if (duration_s < 0) {
      core::check(server_ != nullptr, "a graph with served tasks is run with a server");
      queue_.push({time_s, task, Event::Kind::kBegin});
    } else {
      queue_.push({time_s + duration_s, task, Event::Kind::kEnd});
    }
  }

  // Until a task starts, its `start` holds the earliest time at which it may.
  void release(std::uint32_t task, double ready_s) {
    double& earliest_s = timeline_.start[task].s;
    earliest_s = std::max(earliest_s, ready_s);
    if (--waits_[task] == 0) start(task, earliest_s);
  }

  void end(std::uint32_t task, double now_s) {
    if (observer_ == nullptr) {
      timeline_.end[task].s = now_s;
    } else {
      observer_->ended({task}, timeline_.start[task], {now_s});
    }
    timeline_.total.s = std::max(timeline_.total.s, now_s);
    ++finished_;
    for (std::uint32_t i = first_[task]; i < first_[task + 1]; ++i)
      release(successors_[i].task, now_s + successors_[i].latency_s);
    const std::uint32_t next = graph_.tasks()[task].next;
    if (next != TaskGraph::kNone) release(next, now_s);
  }

  // Takes the next event; false when there is none.
  bool step() {
    const double served_s = server_ == nullptr ? kNever.s : server_->next_completion().s;
    if (!queue_.empty() && queue_.top().time_s <= served_s) {
      const Event event = queue_.pop();
      if (event.kind == Event::Kind::kEnd) {
        end(event.task, event.time_s);
      } else {
        server_->begin({event.task}, {event.time_s});
      }
      return true;
    }
    if (served_s == kNever.s) return false;
    served_.clear();
    server_->complete({served_s}, served_);
    core::check(!served_.empty(), "a server completes a task when it said it would");
    for (const TaskId task : served_) end(task.index, served_s);
    return true;
  }

  // Walks back from a task that never started, always to one that it waits for, until the walk comes round.
  [[noreturn]] void report_cycle() const {
    const std::size_t tasks = waits_.size();
    std::vector<std::uint32_t> waits_for(tasks, TaskGraph::kNone);
    for (std::uint32_t task = 0; task < tasks; ++task) {
      const std::uint32_t next = graph_.tasks()[task].next;
      if (waits_[task] > 0 && next != TaskGraph::kNone) waits_for[next] = task;
    }
    for (const TaskGraph::Dependency& edge : graph_.dependencies())
      if (waits_[edge.on] > 0) waits_for[edge.task] = edge.on;
    const auto stuck = std::find_if(waits_.begin(), waits_.end(), [](std::uint32_t waits) { return waits > 0; });
    core::check(stuck != waits_.end(), "every task that started ends");
    auto task = static_cast<std::uint32_t>(stuck - waits_.begin());
    for (std::size_t i = 0; i < tasks; ++i) task = waits_for[task];
    std::string names = graph_.describe({task});
    std::size_t length = 1;
    for (std::uint32_t at = waits_for[task]; at != task; at = waits_for[at], ++length)
      if (length < kTasksNamed) names += fmt::format(" <- {}", graph_.describe({at}));
    if (length > kTasksNamed) names += fmt::format(" <- ... ({} in all)", length);
    core::fail_input("tasks wait for each other: {} <- {}", names, graph_.describe({task}));
  }

  static constexpr std::size_t kTasksNamed = 8;

  const TaskGraph& graph_;
  Observer* observer_;
  Server* server_;
  Timeline timeline_;  // without ends when there is an observer
  EventQueue queue_;
  std::vector<std::uint32_t> waits_;  // per task: dependencies that have not ended, and its predecessor on the stream
  std::vector<std::uint32_t> first_;  // [tasks + 1] into successors_
  std::vector<Successor> successors_;
  std::vector<TaskId> served_;
  std::size_t finished_ = 0;
};

}  // namespace

SimTime run(const TaskGraph& graph, Observer& observer, Server* server) {
  return Run(graph, &observer, server).finish().total;
}

Timeline run(const TaskGraph& graph, Server* server) { return Run(graph, nullptr, server).finish(); }

}  // namespace lastbit::sim::engine
