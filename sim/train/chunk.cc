#include "sim/train/chunk.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "sim/workload/ends.h"

namespace lastbit::sim::train {
namespace {

using schedule::ChunkRun;
using schedule::Units;
using workload::Segment;
using workload::TransferKind;

ChunkTime chunk_time(const ChunkRun& run) { return {run.total.s, run.exposed().s}; }

}  // namespace

ChunkModel::ChunkModel(const cost::CostModel& cost, const workload::LayerSetting& setting, int communication_sms,
                       std::vector<StageUnits> stages)
    : cost_(cost), setting_(setting), communication_sms_(communication_sms), stages_(std::move(stages)) {
  for (const StageUnits& stage : stages_) {
    for (const StageUnit& unit : stage) {
      const auto key = std::make_pair(unit.kind, unit.load_factor);
      if (!times_.contains(key)) {
        times_[key] = {unit_times(unit, Setting::kSolo), unit_times(unit, Setting::kBesideCommunication)};
      }
    }
  }
}

double ChunkModel::sms(Setting setting) const {
  const double all = cost_.cluster().gpu.sms;
  if (setting == Setting::kBesideCommunication) {
    return cost_.without()[cost::Cause::kCommunicationSms] ? all : all - communication_sms_;
  }
  const double assumed = cost_.assumptions()["solo_compute_sms"];
  return assumed > 0 ? std::min(all, assumed) : all;
}

schedule::Unit ChunkModel::times(const StageUnit& unit) const {
  const auto found = times_.find({unit.kind, unit.load_factor});
  if (found != times_.end()) return found->second;
  return {unit_times(unit, Setting::kSolo), unit_times(unit, Setting::kBesideCommunication)};
}

workload::LayerWork ChunkModel::work_of(const StageUnit& layer) const {
  workload::LayerSetting setting = setting_;
  if (layer.load_factor > 0) setting.load_factor = layer.load_factor;
  return workload::layer_work(setting, layer.kind == UnitKind::kMoeLayer);
}

schedule::UnitTimes ChunkModel::unit_times(const StageUnit& unit, Setting setting) const {
  if (unit.kind != UnitKind::kDenseLayer && unit.kind != UnitKind::kMoeLayer) return end_times(unit.kind, setting);
  return layer_times(work_of(unit), setting);
}

schedule::UnitTimes ChunkModel::layer_times(const workload::LayerWork& work, Setting setting) const {
  schedule::UnitTimes unit;
  unit.layer = true;
  for (std::size_t s = 0; s < workload::kNumSegments; ++s) {
    unit.segments[s] = cost_.gap_s(static_cast<Segment>(s));
    for (const workload::Operator& op : work.segments[s]) {
      const double seconds = cost_.operator_time(op, sms(setting)).seconds;
      unit.segments[s] += seconds;
      const bool exchange = op.kind == workload::OpKind::kGather || op.kind == workload::OpKind::kTensorExchange;
      if (exchange) unit.gathers[s] += seconds;
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

schedule::UnitTimes ChunkModel::end_times(UnitKind kind, Setting setting) const {
  if (cost_.without()[cost::Cause::kEnds]) return {};
  const workload::EndWork work = kind == UnitKind::kEmbedding ? workload::embedding_work(setting_)
                                 : kind == UnitKind::kHead    ? workload::head_work(setting_)
                                                              : workload::mtp_projection_work(setting_);
  const auto total = [&](const std::vector<workload::Operator>& ops) {
    double seconds = 0;
    for (const workload::Operator& op : ops) seconds += cost_.operator_time(op, sms(setting)).seconds;
    return seconds;
  };
  schedule::UnitTimes unit;
  unit.forward = total(work.forward);
  unit.backward = total(work.backward);
  unit.weight = total(work.weight);
  return unit;
}

Units ChunkModel::units(const StageUnits& stage) const {
  Units all;
  for (const StageUnit& unit : stage) all.push_back(times(unit));
  return all;
}

ChunkTime ChunkModel::forward(int stage) const {
  return chunk_time(run_forward(units(stages_[static_cast<std::size_t>(stage)])));
}

ChunkTime ChunkModel::backward(int stage) const {
  return chunk_time(run_backward(units(stages_[static_cast<std::size_t>(stage)])));
}

ChunkTime ChunkModel::backward_input(int stage) const {
  return chunk_time(run_backward_input(units(stages_[static_cast<std::size_t>(stage)])));
}

ChunkTime ChunkModel::weight(int stage) const {
  return chunk_time(run_weight(units(stages_[static_cast<std::size_t>(stage)])));
}

ChunkTime ChunkModel::fused(int forward_stage, int backward_stage) const {
  return fused_units(stages_[static_cast<std::size_t>(forward_stage)],
                     stages_[static_cast<std::size_t>(backward_stage)]);
}

ChunkTime ChunkModel::fused_units(const StageUnits& forward_units, const StageUnits& backward_units) const {
  return chunk_time(run_fused(units(forward_units), units(backward_units)));
}

ProfileCheck ChunkModel::profile_check(int layers) const {
  const StageUnits stage(static_cast<std::size_t>(layers), UnitKind::kMoeLayer);
  const Units held = units(stage);
  const ChunkRun run = run_fused(held, held);
  const workload::LayerWork work = work_of(UnitKind::kMoeLayer);
  ProfileCheck check{run.total.s, run.compute.s, 0, 0};
  for (const schedule::OperatorSpan& span : run.spans) {
    if (!span.communication) continue;
    double seconds = 0;  // at the span's end; the wait is before it
    for (std::size_t t = 0; t < workload::kNumTransfers; ++t) {
      const auto kind = static_cast<TransferKind>(t);
      if (span.name != workload::transfer_name(kind) || !work.transfers[t]) continue;
      seconds =
          cost_.transfer_time(kind, *work.transfers[t], setting_.routing.expert_ranks, cost::Company::kBesideCompute)
              .transfer.seconds;
    }
    check.transfer_s += seconds;
    for (const schedule::OperatorSpan& other : run.spans) {
      if (other.communication) continue;
      const double from = std::max(span.end.s - seconds, other.start.s);
      check.hidden_s += std::max(0.0, std::min(span.end.s, other.end.s) - from);
    }
  }
  return check;
}

bool ChunkModel::is_profiled() const {
  if (!cost_.calibration().given.empty()) return false;
  const workload::LayerWork work = work_of(UnitKind::kMoeLayer);
  for (const auto& ops : work.segments) {
    for (const workload::Operator& op : ops) {
      if (op.kind == workload::OpKind::kMemory) continue;
      if (cost_.operator_time(op, cost_.calibration().training_sms).provenance != cost::Provenance::kMeasured)
        return false;
    }
  }
  return true;
}

Census ChunkModel::census() const {
  Census census;
  const double compute_sms = sms(Setting::kBesideCommunication);
  std::array<int, kNumUnitKinds> number{};
  for (const StageUnits& stage : stages_) {
    for (const StageUnit& unit : stage) ++number[static_cast<std::size_t>(unit.kind)];
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
      const workload::LayerWork work = work_of(unit);
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
