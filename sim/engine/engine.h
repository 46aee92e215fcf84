// Discrete-event engine: tasks on streams with events between them, as on a GPU. A stream runs its tasks one after
// another in the order in which they were added; a task also waits for the tasks it depends on (record and wait).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sim/engine/sim_time.h"

namespace lastbit::sim::engine {

struct StreamId {
  std::uint32_t index = 0;
};
struct TaskId {
  std::uint32_t index = 0;
  constexpr bool operator==(const TaskId&) const = default;
};
struct LabelId {
  std::uint32_t index = 0;
};

// Streams, tasks and dependencies: about 24 bytes a task and 16 a dependency.
class TaskGraph {
 public:
  StreamId add_stream(std::string name);
  // Interns a name for tasks: the same text gives the same id.
  LabelId add_label(std::string_view text);
  // Appends a task that lasts `duration` (finite, >= 0; else Error kInput naming the task) to the stream.
  TaskId add_task(StreamId stream, SimTime duration, LabelId label);
  // Appends a task whose end the Server given to run() decides.
  TaskId add_served_task(StreamId stream, LabelId label);
  // `task` starts no earlier than `latency` (finite, >= 0) after the end of `on`.
  void add_dependency(TaskId task, TaskId on, SimTime latency = {});
  void reserve(std::size_t tasks, std::size_t dependencies);

  struct Task {
    double duration_s;  // < 0: served
    std::uint32_t stream;
    std::uint32_t label;
    std::uint32_t next;  // the stream's next task, kNone after the last
  };
  struct Dependency {
    std::uint32_t on;
    std::uint32_t task;
    double latency_s;
  };
  static constexpr std::uint32_t kNone = UINT32_MAX;

  [[nodiscard]] const std::vector<Task>& tasks() const { return tasks_; }
  [[nodiscard]] const std::vector<Dependency>& dependencies() const { return dependencies_; }
  [[nodiscard]] std::size_t num_streams() const { return streams_.size(); }
  [[nodiscard]] std::size_t num_labels() const { return labels_.size(); }
  [[nodiscard]] const std::string& stream_name(StreamId stream) const { return streams_[stream.index].name; }
  [[nodiscard]] const std::string& label(TaskId task) const { return labels_[tasks_[task.index].label]; }
  // "rank 3: B7.0", for messages.
  [[nodiscard]] std::string describe(TaskId task) const;

 private:
  struct Stream {
    std::string name;
    std::uint32_t last = kNone;
  };
  TaskId append(StreamId stream, double duration_s, LabelId label);

  std::vector<Stream> streams_;
  std::vector<std::string> labels_;
  std::unordered_map<std::string, std::uint32_t> label_ids_;
  std::vector<Task> tasks_;
  std::vector<Dependency> dependencies_;
};

// Serves tasks whose duration depends on what else goes on, such as flows that share links. The engine calls it in
// order of simulated time; everything that starts at one time is begun before next_completion() is asked again.
class Server {
 public:
  virtual ~Server() = default;
  virtual void begin(TaskId task, SimTime now) = 0;
  // When the next of the tasks begun so far completes, if nothing else begins; kNever if there is none.
  virtual SimTime next_completion() = 0;
  // Moves on to `now` = next_completion() and appends the tasks that complete then (at least one) to `done`.
  virtual void complete(SimTime now, std::vector<TaskId>& done) = 0;
};

// Follows a run: each task once, when it ends, in order of simulated time, ties by task number.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void ended(TaskId task, SimTime start, SimTime end) = 0;
};

// Start and end of every task, by task index.
struct Timeline {
  std::vector<SimTime> start;
  std::vector<SimTime> end;
  SimTime total;  // the last end
};

// Runs the graph from time 0 and records everything; see timeline.h for less. Deterministic: events at one time are
// taken in order of task number. Throws Error(kInput) naming the tasks when some wait for each other. Served tasks need
// `server`. Nothing outlives the call, so runs may go on in parallel.
[[nodiscard]] Timeline run(const TaskGraph& graph, Server* server = nullptr);
// The same, telling `observer` instead; returns the last end.
SimTime run(const TaskGraph& graph, Observer& observer, Server* server = nullptr);

}  // namespace lastbit::sim::engine
