#include "sim/train/optimizer_step.h"

#include <algorithm>
#include <utility>

#include "model/counts.h"

namespace lastbit::sim::train {
namespace {

// AdamW (DeepSeek-V3 report, section 3.3.1), bytes a parameter through HBM: gradient read for the norm and again,
// master and two moments read and written, parameter written.
double update_bytes(const Precision& precision) {
  return 2 * precision.gradient_storage_bytes + 2 * precision.master_storage_bytes +
         2 * precision.moments_storage_bytes + precision.weight_storage_bytes;
}

// Of the model with every layer dense, or every one with experts: MTP modules have a layer that no other may be like.
model::ParameterCounts counts_of(model::ModelConfig model, bool moe) {
  model.first_k_dense_replace = moe ? 0 : model.num_hidden_layers;
  model.moe_layer_freq = 1;
  return model::count_parameters(model);
}

RankParameters unit_parameters(const model::ModelConfig& model, UnitKind unit, double expert_ranks, double tensor) {
  const model::ParameterCounts counts = counts_of(model, unit == UnitKind::kMoeLayer);
  const double d = static_cast<double>(model.hidden_size);
  const double layers = static_cast<double>(model.num_hidden_layers);
  const double attention = static_cast<double>(counts.attention + counts.norms) / layers;
  switch (unit) {
    case UnitKind::kEmbedding:
    case UnitKind::kHead:
      return {static_cast<double>(model.vocab_size) * d / tensor, 0};
    case UnitKind::kMtpProjection:
      return {2 * d * d, 0};
    case UnitKind::kDenseLayer:
      return {(attention + static_cast<double>(counts.dense_ffn) / layers) / tensor, 0};
    case UnitKind::kMoeLayer:
      return {(attention + static_cast<double>(counts.shared_experts + counts.routers) / layers) / tensor,
              static_cast<double>(counts.routed_experts) / layers / expert_ranks};
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

double StepTraffic::exposed_s(schedule::Verb verb, int stage, int second, double chunk_s) const {
  using schedule::Verb;
  const ShardTraffic& own = stages[static_cast<std::size_t>(stage)];
  double seconds = 0;
  if (verb == Verb::kForward || verb == Verb::kFused) seconds += own.forward_s;
  if (verb == Verb::kBackward || verb == Verb::kBackwardInput) seconds += own.backward_s;
  if (verb == Verb::kFused) seconds += stages[static_cast<std::size_t>(second)].backward_s;
  return seconds - overlap * std::min(seconds, chunk_s);
}

StepTraffic step_traffic(const cost::CostModel& cost, const model::ModelConfig& model, const Job& job,
                         const std::vector<StageUnits>& stages, int stage_ranks, double copies) {
  StepTraffic traffic;
  traffic.overlap = cost.assumptions()["reduction_overlap"];
  for (const StageUnits& units : stages) {
    traffic.stages.push_back(shard_traffic(cost, model, job, units, stage_ranks, copies));
  }
  return traffic;
}

RankParameters rank_parameters(const model::ModelConfig& model, const Layout& layout,
                               const std::vector<StageUnits>& stages, const std::vector<schedule::Placement>& slots,
                               std::size_t stage) {
  const auto holds = [&stages](std::size_t at, UnitKind kind) {
    return std::find(stages[at].begin(), stages[at].end(), kind) != stages[at].end();
  };
  const bool embedding = std::any_of(slots.begin(), slots.end(), [&](const schedule::Placement& slot) {
    return holds(static_cast<std::size_t>(slot.stage), UnitKind::kEmbedding);
  });
  RankParameters held = stage_parameters(model, stages[stage], layout.expert, layout.tensor);
  const double table = unit_parameters(model, UnitKind::kEmbedding, layout.expert, layout.tensor).replicated;
  if (holds(stage, UnitKind::kMtpProjection) && !embedding) held.replicated += table;
  if (holds(stage, UnitKind::kHead) && model.tie_word_embeddings && embedding) held.replicated -= table;
  return held;
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
      const RankParameters held = rank_parameters(model, job.layout, stages, slots, stage);
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
      rank.update_s += cost.memory_time(shard * update_bytes(job.precision) +
                                        // every held gradient is cleared
                                        (held.replicated + held.experts) * job.precision.gradient_storage_bytes);
    }
    if (cost.without()[cost::Cause::kGradientTraffic]) rank.reduce_s = rank.gather_s = 0;
    if (cost.without()[cost::Cause::kOptimizerUpdate]) rank.update_s = 0;
    if (rank.seconds() > slowest.seconds()) slowest = rank;
  }
  return slowest;
}

}  // namespace lastbit::sim::train
