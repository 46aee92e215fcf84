#include "sim/train/link_use.h"

#include <algorithm>

#include "sim/train/optimizer_step.h"

namespace lastbit::sim::train {
namespace {

using Row = std::array<double, kNumLinkWorks>;

double& at(Row& row, LinkWork work) { return row[static_cast<std::size_t>(work)]; }

// Of one micro-batch through one layer, forward and backward.
void add_layer(const workload::LayerWork& work, const cost::CostModel& cost, double times, Row& row) {
  for (const auto& transfer : work.transfers) {
    if (!transfer) continue;
    at(row, LinkWork::kNvlinkExperts) += times * cost.nvlink_time(transfer->nvlink_bytes);
    at(row, LinkWork::kNicExperts) += times * cost.nic_time(transfer->nic_bytes);
  }
  for (const auto& segment : work.segments) {
    for (const workload::Operator& op : segment) {
      at(row, LinkWork::kNvlinkExchange) += times * cost.nvlink_time(op.nvlink_bytes);
      at(row, LinkWork::kNicExchange) += times * cost.nic_time(op.nic_bytes);
    }
  }
}

}  // namespace

std::map<int, double> forwards_of(const schedule::Schedule& lists, int rank) {
  std::map<int, double> forwards;
  for (const schedule::Op& op : lists.order[static_cast<std::size_t>(rank)]) {
    if (op.verb == schedule::Verb::kForward || op.verb == schedule::Verb::kFused) {
      forwards[lists.at(rank, op.chunk.slot).stage] += 1;
    }
  }
  return forwards;
}

LinkUse link_use(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                 const PhaseForecast& forecast) {
  const workload::LayerSetting setting = layer_setting(model, job, cost, forecast.phase);
  const std::vector<StageUnits> stages = stage_units(model, job.layout, job.layer_load_factors);
  const schedule::Schedule& lists = forecast.lists;
  LinkUse use(static_cast<std::size_t>(lists.ranks), Row{});
  const OptimizerTime optimizer =
      optimizer_time(cost, model, job, lists, stages, forecast.groups.world / job.layout.pipeline);
  for (int rank = 0; rank < lists.ranks; ++rank) {
    Row& row = use[static_cast<std::size_t>(rank)];
    for (const auto& [stage_number, forwards] : forwards_of(lists, rank)) {
      const auto stage = static_cast<std::size_t>(stage_number);
      for (const StageUnit& unit : stages[stage]) {
        if (unit.kind != UnitKind::kDenseLayer && unit.kind != UnitKind::kMoeLayer) continue;
        workload::LayerSetting own = setting;
        if (unit.load_factor > 0) own.load_factor = unit.load_factor;
        add_layer(workload::layer_work(own, unit.kind == UnitKind::kMoeLayer), cost, forwards, row);
      }
      // An activation on to the next stage, a gradient back to the one before.
      const double messages = (stage + 1 < stages.size() ? 1 : 0) + (stage > 0 ? 1 : 0);
      at(row, LinkWork::kPipeline) += forwards * messages * slowest_hop(cost, job, forecast.groups, setting);
    }
    at(row, LinkWork::kGradients) = optimizer.reduce_s + optimizer.gather_s;
  }
  return use;
}

}  // namespace lastbit::sim::train
