#include "sim/train/optimizer_step.h"

#include <algorithm>
#include <utility>

#include "model/counts.h"

namespace lastbit::sim::train {
namespace {

// AdamW with FP32 masters and BF16 moments (DeepSeek-V3 report, section 3.3.1), bytes a parameter through HBM: FP32
// gradient read for the norm and again, master read and written, two moments read and written, BF16 parameter written.
constexpr double kUpdateBytes = 4 + 4 + 8 + 4 + 4 + 2;
constexpr double kZeroGradientBytes = 4;  // every held gradient is cleared

double moe_layers(const model::ModelConfig& model) {
  double layers = 0;
  for (std::int64_t i = 0; i < model.num_hidden_layers; ++i) layers += model.is_moe_layer(i) ? 1 : 0;
  return layers;
}

RankParameters unit_parameters(const model::ModelConfig& model, UnitKind unit, double expert_ranks, double tensor) {
  const model::ParameterCounts counts = model::count_parameters(model);
  const double d = static_cast<double>(model.hidden_size);
  const double layers = static_cast<double>(model.num_hidden_layers);
  const double moe = moe_layers(model);
  const double attention = static_cast<double>(counts.attention + counts.norms) / layers;
  switch (unit) {
    case UnitKind::kEmbedding:
    case UnitKind::kHead:
      return {static_cast<double>(model.vocab_size) * d / tensor, 0};
    case UnitKind::kMtpProjection:
      return {2 * d * d, 0};
    case UnitKind::kDenseLayer:
      return {(attention + static_cast<double>(counts.dense_ffn) / std::max(1.0, layers - moe)) / tensor, 0};
    case UnitKind::kMoeLayer:
      return {(attention + static_cast<double>(counts.shared_experts + counts.routers) / moe) / tensor,
              static_cast<double>(counts.routed_experts) / moe / expert_ranks};
  }
  return {};
}

// Reduce-scatter or all-gather of `bytes` over `holders` ranks of which `local` share a node.
double collective_time(const cost::CostModel& cost, double bytes, double holders, double local) {
  local = std::min(local, holders);
  const double nodes = holders / local;
  return cost.nvlink_time(bytes * (local - 1) / local) + cost.nic_time(bytes / local * (nodes - 1) / nodes);
}

}  // namespace

RankParameters stage_parameters(const model::ModelConfig& model, const StageUnits& units, int expert_ranks,
                                int tensor_ranks) {
  RankParameters sum;
  bool head = false;
  for (const StageUnit& unit : units) {
    // MTP modules share the main head.
    if (unit.kind == UnitKind::kHead && std::exchange(head, true)) continue;
    const RankParameters own = unit_parameters(model, unit.kind, expert_ranks, tensor_ranks);
    sum.replicated += own.replicated;
    sum.experts += own.experts;
  }
  return sum;
}

double stage_collective_time(const cost::CostModel& cost, const Job& job, const RankParameters& held, double bytes,
                             int stage_ranks, double copies) {
  const double tensor = job.layout.tensor;
  // Holders of the same part lie `tensor` ranks apart.
  const double local = std::max(1.0, std::min(cost.cluster().node.gpus, stage_ranks) / tensor);
  // Holders of the same experts lie expert_ranks apart: on one node only if the group is smaller than a node.
  const double expert_local = std::max(1.0, local * tensor / job.layout.expert);
  return collective_time(cost, held.replicated * bytes, stage_ranks / tensor * copies, local) +
         collective_time(cost, held.experts * bytes, stage_ranks * copies / job.layout.expert, expert_local);
}

ShardTraffic shard_traffic(const cost::CostModel& cost, const model::ModelConfig& model, const Job& job,
                           const StageUnits& units, int stage_ranks, double copies) {
  ShardTraffic traffic;
  if (job.layout.zero_stage < 2 || cost.without()[cost::Cause::kGradientTraffic]) return traffic;
  const RankParameters held = stage_parameters(model, units, job.layout.expert, job.layout.tensor);
  const auto collect = [&](double bytes) { return stage_collective_time(cost, job, held, bytes, stage_ranks, copies); };
  const double gather_s = job.layout.zero_stage >= 3 ? collect(job.precision.parameter_bytes) : 0;
  traffic.forward_s = gather_s;
  traffic.backward_s = gather_s + collect(job.precision.gradient_bytes);
  return traffic;
}

OptimizerTime optimizer_time(const cost::CostModel& cost, const model::ModelConfig& model, const Job& job,
                             const schedule::Schedule& schedule, const std::vector<StageUnits>& stages,
                             int stage_ranks) {
  std::vector<double> copies(stages.size(), 0);
  for (const auto& slots : schedule.placement) {
    for (const schedule::Placement& slot : slots) copies[static_cast<std::size_t>(slot.stage)] += 1;
  }
  const double overlap = cost.assumptions()["reduction_overlap"];
  const bool sharded = job.layout.zero_stage >= 1;
  OptimizerTime slowest;
  for (const auto& slots : schedule.placement) {
    OptimizerTime rank;
    for (const schedule::Placement& slot : slots) {
      const auto stage = static_cast<std::size_t>(slot.stage);
      const RankParameters held = stage_parameters(model, stages[stage], job.layout.expert, job.layout.tensor);
      const double holders = stage_ranks / static_cast<double>(job.layout.tensor) * copies[stage];
      const double expert_holders = stage_ranks * copies[stage] / job.layout.expert;
      const auto collect = [&](double bytes) {
        return stage_collective_time(cost, job, held, bytes, stage_ranks, copies[stage]);
      };
      // From ZeRO-2 on gradients are reduced, in ZeRO-3 parameters gathered too, beside every micro-batch.
      if (job.layout.zero_stage < 2) rank.reduce_s += (1 - overlap) * collect(job.precision.gradient_bytes);
      if (job.layout.zero_stage < 3) {
        rank.gather_s +=
            (1 - overlap) * collect(sharded ? job.precision.parameter_bytes : job.precision.gradient_bytes);
      }
      const double shard =
          sharded ? held.replicated / holders + held.experts / expert_holders : held.replicated + held.experts;
      rank.update_s += cost.memory_time(shard * kUpdateBytes + (held.replicated + held.experts) * kZeroGradientBytes);
    }
    if (cost.without()[cost::Cause::kGradientTraffic]) rank.reduce_s = rank.gather_s = 0;
    if (cost.without()[cost::Cause::kOptimizerUpdate]) rank.update_s = 0;
    if (rank.seconds() > slowest.seconds()) slowest = rank;
  }
  return slowest;
}

}  // namespace lastbit::sim::train
