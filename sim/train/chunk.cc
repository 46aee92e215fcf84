#include "sim/train/chunk.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "sim/engine/engine.h"
#include "sim/workload/ends.h"

namespace lastbit::sim::train {
namespace {

using engine::TaskId;
using workload::Segment;
using workload::TransferKind;

// The last task of a direction's data: what comes next waits for it.
using Flow = std::optional<TaskId>;

// Two streams of one rank.
class Program {
 public:
  Program()
      : compute_(graph_.add_stream("compute")),
        communication_(graph_.add_stream("communication")),
        label_(graph_.add_label("chunk")) {}

  // Appends to the compute stream; `gather_s` of `seconds` is communication that nothing hides.
  Flow compute(double seconds, Flow after, double gather_s = 0) {
    compute_s_ += seconds - gather_s;
    return append(compute_, seconds, after);
  }
  Flow communicate(double seconds, Flow after) { return append(communication_, seconds, after); }

  [[nodiscard]] ChunkTime run() const {
    const double total = engine::run(graph_).total.s;
    return {total, std::max(0.0, total - compute_s_)};
  }

 private:
  Flow append(engine::StreamId stream, double seconds, Flow after) {
    const TaskId task = graph_.add_task(stream, {seconds}, label_);
    if (after) graph_.add_dependency(task, *after);
    return task;
  }

  engine::TaskGraph graph_;
  engine::StreamId compute_;
  engine::StreamId communication_;
  engine::LabelId label_;
  double compute_s_ = 0;
};

Flow segment(Program& program, const UnitTimes& unit, Segment which, Flow after) {
  const auto i = static_cast<std::size_t>(which);
  return program.compute(unit.segments[i], after, unit.gathers[i]);
}

Flow transfer(Program& program, const UnitTimes& unit, TransferKind which, Flow after) {
  return unit.communicates ? program.communicate(unit.transfers[static_cast<std::size_t>(which)], after) : after;
}

Flow forward_unit(Program& program, const UnitTimes& unit, Flow flow) {
  if (!unit.layer) return program.compute(unit.forward, flow);
  flow = segment(program, unit, Segment::kAttentionForward, flow);
  flow = transfer(program, unit, TransferKind::kDispatchForward, flow);
  flow = segment(program, unit, Segment::kMlpForward, flow);
  return transfer(program, unit, TransferKind::kCombineForward, flow);
}

// `weights`: the unit whose times the weight gradients take, beside communication; null: they are deferred.
Flow backward_unit(Program& program, const UnitTimes& unit, const UnitTimes* weights, Flow flow) {
  if (!unit.layer) {
    flow = program.compute(unit.backward, flow);
    if (weights != nullptr) program.compute(weights->weight, flow);
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

// A forward and a backward layer interleaved: see ChunkModel.
void fused_pair(Program& program, const UnitTimes& f, const UnitTimes& b, Flow& forward, Flow& backward) {
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

ChunkModel::ChunkModel(const cost::CostModel& cost, const workload::LayerSetting& setting, int communication_sms,
                       std::vector<StageUnits> stages)
    : cost_(cost), setting_(setting), communication_sms_(communication_sms), stages_(std::move(stages)) {
  for (const Setting where : {Setting::kSolo, Setting::kBesideCommunication}) {
    auto& table = times_[static_cast<std::size_t>(where)];
    for (std::size_t kind = 0; kind < kNumUnitKinds; ++kind) {
      const auto unit = static_cast<UnitKind>(kind);
      if (unit == UnitKind::kDenseLayer) {
        table[kind] = layer_times(workload::layer_work(setting_, false), where);
      } else if (unit == UnitKind::kMoeLayer) {
        if (setting_.routing.experts > 0) table[kind] = layer_times(workload::layer_work(setting_, true), where);
      } else {
        table[kind] = end_times(unit, where);
      }
    }
  }
}

double ChunkModel::sms(Setting setting) const {
  const double all = cost_.cluster().gpu.sms;
  if (setting == Setting::kBesideCommunication) return all - communication_sms_;
  return std::min(all, cost_.assumptions()["solo_compute_sms"]);
}

const UnitTimes& ChunkModel::times(UnitKind kind, Setting setting) const {
  return times_[static_cast<std::size_t>(setting)][static_cast<std::size_t>(kind)];
}

UnitTimes ChunkModel::layer_times(const workload::LayerWork& work, Setting setting) const {
  UnitTimes unit;
  unit.layer = true;
  for (std::size_t s = 0; s < workload::kNumSegments; ++s) {
    unit.segments[s] = cost_.gap_s(static_cast<Segment>(s));
    for (const workload::Operator& op : work.segments[s]) {
      const double seconds = cost_.operator_time(op, sms(setting)).seconds;
      unit.segments[s] += seconds;
      if (op.kind == workload::OpKind::kGather) unit.gathers[s] += seconds;
    }
  }
  const auto company = setting == Setting::kBesideCommunication ? cost::Company::kBesideCompute : cost::Company::kAlone;
  for (std::size_t t = 0; t < workload::kNumTransfers; ++t) {
    if (!work.transfers[t]) continue;
    unit.communicates = true;
    const cost::TransferCost cost =
        cost_.transfer_time(static_cast<TransferKind>(t), *work.transfers[t], setting_.routing.expert_ranks, company);
    unit.transfers[t] = cost.wait_s + cost.transfer.seconds;
  }
  return unit;
}

UnitTimes ChunkModel::end_times(UnitKind kind, Setting setting) const {
  const workload::EndWork work = kind == UnitKind::kEmbedding ? workload::embedding_work(setting_)
                                 : kind == UnitKind::kHead    ? workload::head_work(setting_)
                                                              : workload::mtp_projection_work(setting_);
  const auto total = [&](const std::vector<workload::Operator>& ops) {
    double seconds = 0;
    for (const workload::Operator& op : ops) seconds += cost_.operator_time(op, sms(setting)).seconds;
    return seconds;
  };
  UnitTimes unit;
  unit.forward = total(work.forward);
  unit.backward = total(work.backward);
  unit.weight = total(work.weight);
  return unit;
}

ChunkTime ChunkModel::forward(int stage) const {
  Program program;
  Flow flow;
  for (const UnitKind unit : stages_[static_cast<std::size_t>(stage)]) {
    flow = forward_unit(program, times(unit, Setting::kSolo), flow);
  }
  return program.run();
}

ChunkTime ChunkModel::backward(int stage) const {
  Program program;
  Flow flow;
  const StageUnits& units = stages_[static_cast<std::size_t>(stage)];
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
    flow = backward_unit(program, times(*unit, Setting::kSolo), &times(*unit, Setting::kBesideCommunication), flow);
  }
  return program.run();
}

ChunkTime ChunkModel::backward_input(int stage) const {
  Program program;
  Flow flow;
  const StageUnits& units = stages_[static_cast<std::size_t>(stage)];
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
    flow = backward_unit(program, times(*unit, Setting::kSolo), nullptr, flow);
  }
  return program.run();
}

ChunkTime ChunkModel::weight(int stage) const {
  double seconds = 0;
  for (const UnitKind kind : stages_[static_cast<std::size_t>(stage)]) {
    const UnitTimes& unit = times(kind, Setting::kSolo);
    seconds += unit.weight + unit.segments[static_cast<std::size_t>(Segment::kMlpWeight)] +
               unit.segments[static_cast<std::size_t>(Segment::kAttentionWeight)];
  }
  return {seconds, 0};
}

ChunkTime ChunkModel::fused(int forward_stage, int backward_stage) const {
  return fused_units(stages_[static_cast<std::size_t>(forward_stage)],
                     stages_[static_cast<std::size_t>(backward_stage)]);
}

ChunkTime ChunkModel::fused_units(const StageUnits& forward_units, const StageUnits& backward_units) const {
  Program program;
  Flow forward;
  Flow backward;
  auto f = forward_units.begin();
  auto b = backward_units.rbegin();
  const auto beside = [this](UnitKind kind) -> const UnitTimes& { return times(kind, Setting::kBesideCommunication); };
  const auto is_layer = [](UnitKind kind) { return kind == UnitKind::kDenseLayer || kind == UnitKind::kMoeLayer; };
  while (f != forward_units.end() || b != backward_units.rend()) {
    const bool has_f = f != forward_units.end();
    const bool has_b = b != backward_units.rend();
    if (has_b && !is_layer(*b)) {
      backward = backward_unit(program, beside(*b), &beside(*b), backward);
      ++b;
    } else if (has_f && !is_layer(*f)) {
      forward = forward_unit(program, beside(*f++), forward);
    } else if (has_f && has_b) {
      fused_pair(program, beside(*f++), beside(*b++), forward, backward);
    } else if (has_f) {
      forward = forward_unit(program, times(*f++, Setting::kSolo), forward);
    } else {
      backward = backward_unit(program, times(*b, Setting::kSolo), &beside(*b), backward);
      ++b;
    }
  }
  return program.run();
}

Census ChunkModel::census() const {
  Census census;
  const double compute_sms = sms(Setting::kBesideCommunication);
  std::array<int, kNumUnitKinds> number{};
  for (const StageUnits& stage : stages_) {
    for (const UnitKind kind : stage) ++number[static_cast<std::size_t>(kind)];
  }
  const auto add = [&](const cost::Timed& timed, int times_run) {
    const auto where = static_cast<std::size_t>(timed.provenance);
    census.operators[where] += 1;
    census.seconds[where] += timed.seconds * times_run;
  };
  for (std::size_t kind = 0; kind < kNumUnitKinds; ++kind) {
    if (number[kind] == 0) continue;
    const auto unit = static_cast<UnitKind>(kind);
    if (unit == UnitKind::kDenseLayer || unit == UnitKind::kMoeLayer) {
      const workload::LayerWork work = workload::layer_work(setting_, unit == UnitKind::kMoeLayer);
      for (const auto& ops : work.segments) {
        for (const workload::Operator& op : ops) add(cost_.operator_time(op, compute_sms), number[kind]);
      }
      for (std::size_t t = 0; t < workload::kNumTransfers; ++t) {
        if (!work.transfers[t]) continue;
        add(cost_
                .transfer_time(static_cast<TransferKind>(t), *work.transfers[t], setting_.routing.expert_ranks,
                               cost::Company::kBesideCompute)
                .transfer,
            number[kind]);
      }
    } else {
      const workload::EndWork work = unit == UnitKind::kEmbedding ? workload::embedding_work(setting_)
                                     : unit == UnitKind::kHead    ? workload::head_work(setting_)
                                                                  : workload::mtp_projection_work(setting_);
      for (const auto* ops : {&work.forward, &work.backward, &work.weight}) {
        for (const workload::Operator& op : *ops) add(cost_.operator_time(op, compute_sms), number[kind]);
      }
    }
  }
  return census;
}

}  // namespace lastbit::sim::train
