#include "sim/schedule/overlap.h"

#include <optional>
#include <utility>

#include "sim/engine/engine.h"

namespace lastbit::sim::schedule {
namespace {

using engine::TaskId;
using workload::Segment;
using workload::TransferKind;

// The last task of a direction's data: what comes next waits for it.
using Flow = std::optional<TaskId>;

// Two streams of one rank.
class ChunkProgram {
 public:
  ChunkProgram() : compute_(graph_.add_stream("compute")), communication_(graph_.add_stream("communication")) {}

  // Appends to the compute stream; `gather_s` of `seconds` is communication that nothing hides.
  Flow compute(double seconds, Flow after, const char* name, bool of_backward, double gather_s = 0) {
    result_.compute.s += seconds - gather_s;
    return append(false, seconds, after, name, of_backward);
  }
  Flow communicate(double seconds, Flow after, const char* name, bool of_backward) {
    result_.communication.s += seconds;
    return append(true, seconds, after, name, of_backward);
  }

  [[nodiscard]] ChunkRun run() && {
    const engine::Timeline times = engine::run(graph_);
    result_.total = times.total;
    for (std::size_t task = 0; task < result_.spans.size(); ++task) {
      result_.spans[task].start = times.start[task];
      result_.spans[task].end = times.end[task];
    }
    return std::move(result_);
  }

 private:
  Flow append(bool communication, double seconds, Flow after, const char* name, bool of_backward) {
    const TaskId task = graph_.add_task(communication ? communication_ : compute_, {seconds}, graph_.add_label(name));
    if (after) graph_.add_dependency(task, *after);
    result_.spans.push_back({communication, name, of_backward, {}, {}});
    return task;
  }

  engine::TaskGraph graph_;
  engine::StreamId compute_;
  engine::StreamId communication_;
  ChunkRun result_;
};

bool of_backward(Segment which) { return which != Segment::kAttentionForward && which != Segment::kMlpForward; }
bool of_backward(TransferKind which) {
  return which == TransferKind::kDispatchBackward || which == TransferKind::kCombineBackward;
}

Flow segment(ChunkProgram& program, const UnitTimes& unit, Segment which, Flow after) {
  const auto i = static_cast<std::size_t>(which);
  return program.compute(unit.segments[i], after, workload::segment_name(which), of_backward(which), unit.gathers[i]);
}

Flow transfer(ChunkProgram& program, const UnitTimes& unit, TransferKind which, Flow after) {
  if (!unit.communicates) return after;
  return program.communicate(unit.transfers[static_cast<std::size_t>(which)], after, workload::transfer_name(which),
                             of_backward(which));
}

Flow forward_unit(ChunkProgram& program, const UnitTimes& unit, Flow flow) {
  if (!unit.layer) return program.compute(unit.forward, flow, "forward", false);
  flow = segment(program, unit, Segment::kAttentionForward, flow);
  flow = transfer(program, unit, TransferKind::kDispatchForward, flow);
  flow = segment(program, unit, Segment::kMlpForward, flow);
  return transfer(program, unit, TransferKind::kCombineForward, flow);
}

// `weights`: the unit whose times the weight gradients take, beside communication; null: they are deferred.
Flow backward_unit(ChunkProgram& program, const UnitTimes& unit, const UnitTimes* weights, Flow flow) {
  if (!unit.layer) {
    flow = program.compute(unit.backward, flow, "backward", true);
    if (weights != nullptr) program.compute(weights->weight, flow, "weight", true);
    return flow;
  }
  flow = transfer(program, unit, TransferKind::kDispatchBackward, flow);
  flow = segment(program, unit, Segment::kMlpBackward, flow);
  const Flow mlp = flow;
  flow = transfer(program, unit, TransferKind::kCombineBackward, flow);
  if (weights != nullptr) segment(program, *weights, Segment::kMlpWeight, mlp);
  flow = segment(program, unit, Segment::kAttentionBackward, flow);
  if (weights != nullptr) segment(program, *weights, Segment::kAttentionWeight, flow);
  return flow;
}

// A forward and a backward layer interleaved: see run_fused().
void fused_pair(ChunkProgram& program, const UnitTimes& f, const UnitTimes& b, Flow& forward, Flow& backward) {
  const Flow gradient = transfer(program, b, TransferKind::kDispatchBackward, backward);
  forward = segment(program, f, Segment::kAttentionForward, forward);
  forward = transfer(program, f, TransferKind::kDispatchForward, forward);
  const Flow mlp = segment(program, b, Segment::kMlpBackward, gradient);
  backward = transfer(program, b, TransferKind::kCombineBackward, mlp);
  segment(program, b, Segment::kMlpWeight, mlp);
  forward = segment(program, f, Segment::kMlpForward, forward);
  forward = transfer(program, f, TransferKind::kCombineForward, forward);
  backward = segment(program, b, Segment::kAttentionBackward, backward);
  segment(program, b, Segment::kAttentionWeight, backward);
}

}  // namespace

ChunkRun run_forward(const Units& units) {
  ChunkProgram program;
  Flow flow;
  for (const Unit& unit : units) flow = forward_unit(program, unit.alone, flow);
  return std::move(program).run();
}

ChunkRun run_backward(const Units& units) {
  ChunkProgram program;
  Flow flow;
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit)
    flow = backward_unit(program, unit->alone, &unit->beside, flow);
  return std::move(program).run();
}

ChunkRun run_backward_input(const Units& units) {
  ChunkProgram program;
  Flow flow;
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit)
    flow = backward_unit(program, unit->alone, nullptr, flow);
  return std::move(program).run();
}

ChunkRun run_weight(const Units& units) {
  ChunkProgram program;
  for (const Unit& unit : units) {
    if (unit.alone.layer) {
      segment(program, unit.alone, Segment::kMlpWeight, {});
      segment(program, unit.alone, Segment::kAttentionWeight, {});
    } else {
      program.compute(unit.alone.weight, {}, "weight", true);
    }
  }
  return std::move(program).run();
}

ChunkRun run_fused(const Units& forward_units, const Units& backward_units) {
  ChunkProgram program;
  Flow forward;
  Flow backward;
  auto f = forward_units.begin();
  auto b = backward_units.rbegin();
  while (f != forward_units.end() || b != backward_units.rend()) {
    const bool has_f = f != forward_units.end();
    const bool has_b = b != backward_units.rend();
    if (has_b && !b->beside.layer) {
      backward = backward_unit(program, b->beside, &b->beside, backward);
      ++b;
    } else if (has_f && !f->beside.layer) {
      forward = forward_unit(program, f->beside, forward);
      ++f;
    } else if (has_f && has_b) {
      fused_pair(program, f->beside, b->beside, forward, backward);
      ++f;
      ++b;
    } else if (has_f) {
      forward = forward_unit(program, f->alone, forward);
      ++f;
    } else {
      backward = backward_unit(program, b->alone, &b->beside, backward);
      ++b;
    }
  }
  return std::move(program).run();
}

const ChunkRun& ChunkTimes::at(Verb verb, int stage, int second) {
  const auto key = std::make_tuple(verb, stage, second);
  const auto found = runs_.find(key);
  if (found != runs_.end()) return found->second;
  const Units& units = stages_.at(static_cast<std::size_t>(stage));
  switch (verb) {
    case Verb::kForward:
      return runs_[key] = run_forward(units);
    case Verb::kBackward:
      return runs_[key] = run_backward(units);
    case Verb::kBackwardInput:
      return runs_[key] = run_backward_input(units);
    case Verb::kWeight:
      return runs_[key] = run_weight(units);
    case Verb::kFused:
      break;
  }
  return runs_[key] = run_fused(units, stages_.at(static_cast<std::size_t>(second)));
}

Costs chunk_costs(ChunkTimes& chunks, SimTime hop, SimTime transfer) {
  Costs costs;
  costs.duration = [&chunks](const Schedule& schedule, int rank, const Op& op) {
    const int second = op.verb == Verb::kFused ? schedule.at(rank, op.second.slot).stage : -1;
    return chunks.at(op.verb, schedule.at(rank, op.chunk.slot).stage, second).total;
  };
  costs.hop = [hop](int, int) { return hop; };
  costs.transfer = [transfer](int, int) { return transfer; };
  return costs;
}

}  // namespace lastbit::sim::schedule
