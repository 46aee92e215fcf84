#include "sim/schedule/execute.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"

namespace lastbit::sim::schedule {
namespace {

using engine::TaskId;

// The task that computes each forward and each input gradient, by (path, stage, micro-batch).
class Producers {
 public:
  explicit Producers(const Schedule& schedule)
      : stages_(static_cast<std::size_t>(schedule.stages)),
        per_path_(static_cast<std::size_t>(schedule.micro_batches / schedule.paths)),
        made_(static_cast<std::size_t>(schedule.paths) * stages_ * per_path_) {}

  struct Made {
    TaskId forward;
    TaskId backward;
    int rank = -1;
  };
  Made& at(int path, int stage, int micro_batch) {
    return made_[(static_cast<std::size_t>(path) * stages_ + static_cast<std::size_t>(stage)) * per_path_ +
                 static_cast<std::size_t>(micro_batch)];
  }

 private:
  std::size_t stages_;
  std::size_t per_path_;
  std::vector<Made> made_;
};

bool has_forward(Verb verb) { return verb == Verb::kForward || verb == Verb::kFused; }
bool has_backward(Verb verb) { return verb == Verb::kBackward || verb == Verb::kBackwardInput || verb == Verb::kFused; }
bool frees_activation(Verb verb) { return verb == Verb::kBackward || verb == Verb::kWeight || verb == Verb::kFused; }
const Chunk& backward_chunk(const Op& op) { return op.verb == Verb::kFused ? op.second : op.chunk; }

// Builds the task graph of a schedule; task numbers run through the ranks' lists one after another, then come the
// transfers.
class Builder {
 public:
  // named: tasks are labelled as verbs, for messages.
  Builder(const Schedule& schedule, const Costs& costs, bool named)
      : schedule_(schedule), costs_(costs), named_(named), producers_(schedule) {
    std::size_t verbs = 0;
    for (const std::vector<Op>& list : schedule.order) verbs += list.size();
    graph_.reserve(verbs, 2 * verbs);
  }

  // `links` gets what was sent.
  engine::TaskGraph build(std::vector<LinkUse>& links) && {
    const engine::LabelId unnamed = graph_.add_label("verb");
    for (int rank = 0; rank < schedule_.ranks; ++rank) add_rank(rank, unnamed);
    std::uint32_t task = 0;
    for (int rank = 0; rank < schedule_.ranks; ++rank)
      for (const Op& op : list(rank)) send_outputs(rank, op, {task++});
    for (const auto& [ends, link] : links_) links.push_back(link.use);
    return std::move(graph_);
  }

 private:
  struct Link {
    engine::StreamId stream;
    LinkUse use;
  };

  [[nodiscard]] const std::vector<Op>& list(int rank) const { return schedule_.order[static_cast<std::size_t>(rank)]; }

  void add_rank(int rank, engine::LabelId unnamed) {
    const engine::StreamId stream = graph_.add_stream("rank " + std::to_string(rank));
    for (const Op& op : list(rank)) {
      const engine::LabelId name = named_ ? graph_.add_label(label(op, schedule_.labels)) : unnamed;
      const TaskId task = graph_.add_task(stream, costs_.duration(schedule_, rank, op), name);
      if (has_forward(op.verb)) take_forward(rank, op.chunk, task);
      if (has_backward(op.verb)) take_backward(rank, backward_chunk(op), task);
    }
  }

  // The tasks that compute a stage's forward and backward of a micro-batch; each runs on the rank that holds it.
  void take_forward(int rank, const Chunk& chunk, TaskId task) {
    const Placement& place = schedule_.at(rank, chunk.slot);
    Producers::Made& made = producers_.at(place.path, place.stage, chunk.micro_batch);
    made.forward = task;
    made.rank = rank;
  }
  void take_backward(int rank, const Chunk& chunk, TaskId task) {
    const Placement& place = schedule_.at(rank, chunk.slot);
    producers_.at(place.path, place.stage, chunk.micro_batch).backward = task;
  }

  // To the stage after a forward's and before a backward's, in the order in which the rank makes its outputs. W waits
  // for its Bi, and the last stage's backward for its forward, by their place in the list, which validate() has seen.
  void send_outputs(int rank, const Op& op, TaskId task) {
    if (has_forward(op.verb)) {
      const Placement& place = schedule_.at(rank, op.chunk.slot);
      if (place.stage + 1 < schedule_.stages) {
        const Producers::Made& to = producers_.at(place.path, place.stage + 1, op.chunk.micro_batch);
        send(rank, task, to.rank, to.forward);
      }
    }
    if (has_backward(op.verb)) {
      const Chunk& chunk = backward_chunk(op);
      const Placement& place = schedule_.at(rank, chunk.slot);
      if (place.stage > 0) {
        const Producers::Made& to = producers_.at(place.path, place.stage - 1, chunk.micro_batch);
        send(rank, task, to.rank, to.backward);
      }
    }
  }

  void send(int from_rank, TaskId from, int to_rank, TaskId to) {
    if (from_rank == to_rank) {
      graph_.add_dependency(to, from);
      return;
    }
    const SimTime hop = costs_.hop ? costs_.hop(from_rank, to_rank) : SimTime{};
    const SimTime transfer = costs_.transfer ? costs_.transfer(from_rank, to_rank) : SimTime{};
    if (transfer == SimTime{}) {
      graph_.add_dependency(to, from, hop);
      return;
    }
    auto [found, added] = links_.try_emplace({from_rank, to_rank});
    Link& link = found->second;
    if (added) {
      link.stream = graph_.add_stream("link " + std::to_string(from_rank) + " to " + std::to_string(to_rank));
      link.use = {from_rank, to_rank, 0, {}};
    }
    ++link.use.transfers;
    link.use.busy += transfer;
    const TaskId sent = graph_.add_task(link.stream, transfer, graph_.add_label("transfer"));
    graph_.add_dependency(sent, from);
    graph_.add_dependency(to, sent, hop);
  }

  const Schedule& schedule_;
  const Costs& costs_;
  bool named_;
  Producers producers_;
  engine::TaskGraph graph_;
  std::map<std::pair<int, int>, Link> links_;
};

void add_to(VerbTimes& split, Verb verb, SimTime time) {
  switch (verb) {
    case Verb::kForward:
      split.forward += time;
      break;
    case Verb::kBackward:
    case Verb::kBackwardInput:
      split.backward += time;
      break;
    case Verb::kWeight:
      split.weight += time;
      break;
    case Verb::kFused:
      split.fused += time;
      break;
  }
}

SimTime duration(const StageTimes& times, Verb verb, SimTime fused) {
  switch (verb) {
    case Verb::kForward:
      return times.forward;
    case Verb::kBackward:
      return times.backward;
    case Verb::kBackwardInput:
      return times.backward - times.weight;
    case Verb::kWeight:
      return times.weight;
    case Verb::kFused:
      return fused;
  }
  return {};
}

constexpr double kLongest = 1e100;  // of any unit of time; sums of the most verbs that build() allows stay finite

}  // namespace

Costs stage_costs(std::vector<StageTimes> stages, std::function<SimTime(int, int)> fused, SimTime hop,
                  SimTime transfer) {
  Costs costs;
  costs.duration = [stages = std::move(stages), fused = std::move(fused)](const Schedule& schedule, int rank,
                                                                          const Op& op) -> SimTime {
    const int stage = schedule.at(rank, op.chunk.slot).stage;
    const SimTime both = op.verb == Verb::kFused ? fused(stage, schedule.at(rank, op.second.slot).stage) : SimTime{};
    return duration(stages.at(static_cast<std::size_t>(stage)), op.verb, both);
  };
  costs.hop = [hop](int, int) { return hop; };
  costs.transfer = [transfer](int, int) { return transfer; };
  return costs;
}

Costs uniform_costs(const StageTimes& times, SimTime fused, SimTime hop, SimTime transfer) {
  Costs costs;
  costs.duration = [times, fused](const Schedule&, int, const Op& op) { return duration(times, op.verb, fused); };
  costs.hop = [hop](int, int) { return hop; };
  costs.transfer = [transfer](int, int) { return transfer; };
  return costs;
}

void validate_duration(SimTime time, const std::string& what) {
  if (!(time.s >= 0 && time.s <= kLongest))
    core::fail_input("durations: {} is {}, expected a number from 0 to {}", what, time.s, kLongest);
}

void validate(const StageTimes& times, SimTime fused, const std::string& where) {
  validate_duration(times.forward, "F" + where);
  validate_duration(times.backward, "B" + where);
  validate_duration(times.weight, "W" + where);
  validate_duration(fused, "F&B" + where);
  if (times.weight > times.backward) {
    core::fail_input("durations: W{} is {}, expected at most B, {}: W is part of the full backward", where,
                     times.weight.s, times.backward.s);
  }
}

namespace {

// Writing names takes longer than the run, and only lists that wait for each other show them: these run again.
engine::Timeline run_or_name(const engine::TaskGraph& graph, const Schedule& schedule, const Costs& costs) {
  try {
    return engine::run(graph);
  } catch (const core::Error&) {
    std::vector<LinkUse> links;
    return engine::run(Builder(schedule, costs, true).build(links));
  }
}

}  // namespace

Execution execute(const Schedule& schedule, const Costs& costs) {
  validate(schedule);
  Execution result;
  const engine::TaskGraph graph = Builder(schedule, costs, false).build(result.links);
  const engine::Timeline times = run_or_name(graph, schedule, costs);
  result.total = times.total;
  std::size_t task = 0;
  for (const std::vector<Op>& list : schedule.order) {
    std::vector<TimedOp> timeline;
    timeline.reserve(list.size());
    SimTime finish;
    SimTime busy;
    VerbTimes split;
    int in_flight = 0;
    int peak = 0;
    for (const Op& op : list) {
      const SimTime duration{graph.tasks()[task].duration_s};
      timeline.push_back({op, times.start[task], times.end[task]});
      finish = times.end[task++];
      busy += duration;
      add_to(split, op.verb, duration);
      if (has_forward(op.verb)) peak = std::max(peak, ++in_flight);
      if (frees_activation(op.verb)) --in_flight;
    }
    result.finish.push_back(finish);
    result.busy.push_back(busy);
    result.bubble.push_back(times.total - busy);
    result.split.push_back(split);
    result.peak_in_flight.push_back(peak);
    result.timeline.push_back(std::move(timeline));
  }
  return result;
}

void check_limit(const Execution& execution, const Schedule& schedule, int limit) {
  if (limit == 0) return;
  for (std::size_t rank = 0; rank < execution.peak_in_flight.size(); ++rank) {
    if (execution.peak_in_flight[rank] > limit) {
      core::fail_input("{} has {} micro-batches in flight on rank {}, more than the activation limit of {}",
                       schedule.kind, execution.peak_in_flight[rank], rank, limit);
    }
  }
}

}  // namespace lastbit::sim::schedule
