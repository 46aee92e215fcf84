#include "sim/train/phase_operators.h"

#include <set>

#include "sim/workload/ends.h"

namespace lastbit::sim::train {
namespace {

using workload::Operator;

std::vector<std::vector<Operator>> unit_operators(const workload::LayerSetting& setting, UnitKind kind) {
  if (kind == UnitKind::kDenseLayer || kind == UnitKind::kMoeLayer) {
    const workload::LayerWork work = workload::layer_work(setting, kind == UnitKind::kMoeLayer);
    return {work.segments.begin(), work.segments.end()};
  }
  const workload::EndWork work = kind == UnitKind::kEmbedding ? workload::embedding_work(setting)
                                 : kind == UnitKind::kHead    ? workload::head_work(setting)
                                                              : workload::mtp_projection_work(setting);
  return {work.forward, work.backward, work.weight};
}

}  // namespace

std::vector<Operator> phase_operators(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                                      const Phase& phase) {
  (void)check_layout(model, cost.cluster(), job, phase);
  const workload::LayerSetting setting = layer_setting(model, job, cost, phase);
  std::vector<Operator> all;
  std::set<UnitKind> seen;
  for (const StageUnits& stage : stage_units(model, job.layout)) {
    for (const StageUnit& unit : stage) {
      if (!seen.insert(unit.kind).second) continue;
      for (const std::vector<Operator>& list : unit_operators(setting, unit.kind)) {
        all.insert(all.end(), list.begin(), list.end());
      }
    }
  }
  return all;
}

}  // namespace lastbit::sim::train
