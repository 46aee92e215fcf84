#include "sim/train/rank_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/train/optimizer_step.h"

namespace lastbit::sim::train {
namespace {

using memory::Part;

std::vector<Part> unit_activations(const workload::LayerSetting& setting, UnitKind unit) {
  switch (unit) {
    case UnitKind::kEmbedding:
      return {};
    case UnitKind::kDenseLayer:
      return memory::layer_activations(setting, false);
    case UnitKind::kMoeLayer:
      return memory::layer_activations(setting, true);
    case UnitKind::kHead:
      return memory::head_activations(setting);
    case UnitKind::kMtpProjection:
      return memory::mtp_projection_activations(setting);
  }
  return {};
}

std::vector<Part> stage_activations(const workload::LayerSetting& setting, const StageUnits& units) {
  std::vector<Part> parts;
  // The busiest rank is another one in every layer: over a stage's layers and micro-batches a rank keeps the mean.
  workload::LayerSetting mean = setting;
  mean.load_factor = 1;
  for (const StageUnit& unit : units) {
    for (const Part& part : unit_activations(mean, unit.kind)) memory::add(parts, part.name, part.bytes);
  }
  return parts;
}

bool holds(const StageUnits& units, UnitKind kind) {
  return std::find(units.begin(), units.end(), kind) != units.end();
}

// Weights, gradients and optimiser state of one stage on a rank.
void add_stage_state(const Job& job, const RankParameters& held, double holders, double expert_holders,
                     std::vector<Part>& parts) {
  const Precision& precision = job.precision;
  const double all = held.replicated + held.experts;
  const double shard = held.replicated / holders + held.experts / expert_holders;
  const int zero = job.layout.zero_stage;
  const double fp8_copy = precision.gemm == workload::Format::kFp8 ? 1 : 0;
  memory::add(parts, "parameters", (zero >= 3 ? shard : all) * (precision.weight_storage_bytes + fp8_copy));
  memory::add(parts, "gradients", (zero >= 2 ? shard : all) * precision.gradient_storage_bytes);
  memory::add(parts, "master weights", (zero >= 1 ? shard : all) * precision.master_storage_bytes);
  memory::add(parts, "optimiser moments", (zero >= 1 ? shard : all) * precision.moments_storage_bytes);
}

// What exists of one layer at a time: with full recomputation all its activations during its backward, in ZeRO-3 its
// gathered parameters and the next layer's, which are fetched ahead.
double layer_at_work(const Job& job, const model::ModelConfig& model, const workload::LayerSetting& setting,
                     const StageUnits& units) {
  workload::LayerSetting whole = setting;
  whole.recompute = workload::Recompute::kNone;
  whole.load_factor = 1;
  double most = 0;
  for (const StageUnit& unit : units) {
    if (unit.kind != UnitKind::kDenseLayer && unit.kind != UnitKind::kMoeLayer) continue;
    double bytes = 0;
    if (setting.recompute == workload::Recompute::kFull) bytes += memory::total(unit_activations(whole, unit.kind));
    if (job.layout.zero_stage >= 3) {
      const RankParameters layer = stage_parameters(model, {unit}, job.layout.expert, job.layout.tensor);
      bytes += 2 * (layer.replicated + layer.experts) * job.precision.weight_storage_bytes;
    }
    most = std::max(most, bytes);
  }
  return most;
}

std::vector<Part> held_parts(const Job& job, const model::ModelConfig& model, const workload::LayerSetting& setting,
                             const std::vector<StageUnits>& stages, const std::vector<double>& copies,
                             const std::vector<schedule::Placement>& slots, int stage_ranks) {
  std::vector<Part> parts;
  double logits = 0;
  double buffers = 0;
  double at_work = 0;
  for (const schedule::Placement& slot : slots) {
    const auto stage = static_cast<std::size_t>(slot.stage);
    const double holders = stage_ranks / static_cast<double>(job.layout.tensor) * copies[stage];
    const double expert_holders = std::max(1.0, stage_ranks * copies[stage] / job.layout.expert);
    add_stage_state(job, rank_parameters(model, job.layout, stages, slots, stage), holders, expert_holders, parts);
    at_work = std::max(at_work, layer_at_work(job, model, setting, stages[stage]));
    if (holds(stages[stage], UnitKind::kHead)) logits = memory::logits_bytes(setting);
    for (const StageUnit& unit : stages[stage]) {
      if (unit.kind != UnitKind::kMoeLayer) continue;
      workload::LayerSetting own = setting;
      if (unit.load_factor > 0) own.load_factor = unit.load_factor;
      buffers = std::max(buffers, memory::expert_buffer_bytes(own));
    }
  }
  if (logits > 0) memory::add(parts, "logits", logits);
  if (buffers > 0) memory::add(parts, "dispatch and combine buffers", buffers);
  if (at_work > 0) memory::add(parts, "the layer at work", at_work);
  return parts;
}

}  // namespace

JobMemory job_memory(const cost::CostModel& cost, const model::ModelConfig& model, const Job& job,
                     const workload::LayerSetting& setting, const std::vector<StageUnits>& stages,
                     const schedule::Schedule& schedule, const schedule::Execution& execution, int stage_ranks) {
  std::vector<double> copies(stages.size(), 0);
  for (const auto& slots : schedule.placement) {
    for (const schedule::Placement& slot : slots) copies[static_cast<std::size_t>(slot.stage)] += 1;
  }
  std::vector<std::vector<Part>> activations;
  std::vector<double> stage_bytes;
  for (const StageUnits& units : stages) {
    activations.push_back(stage_activations(setting, units));
    stage_bytes.push_back(memory::total(activations.back()));
  }
  const double margin = cost.assumptions()["memory_margin"];
  const double reserved = cost.assumptions()["memory_reserved"] * (1 << 30);
  JobMemory result;
  result.capacity_bytes = cost.cluster().gpu.hbm_bytes;
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    RankMemory own;
    own.parts = held_parts(job, model, setting, stages, copies, schedule.placement[static_cast<std::size_t>(rank)],
                           stage_ranks);
    own.held_bytes = memory::total(own.parts);
    own.timeline = memory::rank_timeline(schedule, execution, rank, stage_bytes);
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      for (const Part& part : activations[stage]) {
        const double bytes = own.timeline.in_flight_at_peak[stage] * part.bytes;
        if (bytes > 0) memory::add(own.parts, "activations: " + part.name, bytes);
      }
    }
    own.peak_bytes = memory::total(own.parts);
    own.needed_bytes = own.peak_bytes * (1 + margin) + reserved;
    std::stable_sort(own.parts.begin(), own.parts.end(),
                     [](const Part& a, const Part& b) { return a.bytes > b.bytes; });
    result.ranks.push_back(std::move(own));
    if (result.ranks.back().needed_bytes > result.peak().needed_bytes) result.worst = rank;
  }
  return result;
}

std::string describe_shortage(const JobMemory& memory) {
  const RankMemory& peak = memory.peak();
  return fmt::format(
      "memory: pipeline rank {} needs {:.1f} GiB, but a GPU has {:.1f} GiB; the largest part is {} with {:.1f} GiB",
      memory.worst, peak.needed_bytes / kGiB, memory.capacity_bytes / kGiB, peak.parts.front().name,
      peak.parts.front().bytes / kGiB);
}

}  // namespace lastbit::sim::train
