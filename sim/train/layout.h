// Which rank does what: stages of the pipeline and the groups of ranks, checked against model and cluster.
#pragma once

#include <vector>

#include "model/config.h"
#include "sim/cluster/cluster.h"
#include "sim/train/job.h"

namespace lastbit::sim::train {

enum class UnitKind { kEmbedding, kDenseLayer, kMoeLayer, kHead, kMtpProjection };
inline constexpr std::size_t kNumUnitKinds = 5;

struct StageUnit {
  UnitKind kind = UnitKind::kEmbedding;
  double load_factor = 0;  // of a MoE layer, the busiest rank over the mean; 0: the assumption's

  int moe_layer = -1;  // of a MoE layer: the how manieth of the model, MTP's last

  StageUnit(UnitKind unit, double load = 0)
      : kind(unit), load_factor(load) {}  // NOLINT(google-explicit-constructor): a kind alone is a unit
  friend bool operator==(const StageUnit& unit, UnitKind other) { return unit.kind == other; }
};
// What a pipeline stage holds, in forward order.
using StageUnits = std::vector<StageUnit>;

// The ranks of one phase.
struct Groups {
  int world = 0;
  int data_parallel = 0;  // pipelines: world / (pipeline x context_parallel x tensor)
  int micro_batches = 0;  // of one pipeline and step
};

// Checks the phase's layout. Error(kInput), one line that names the rule and its numbers: pipeline x context_parallel x
// tensor divides the GPUs, tensor ranks fit a node and divide heads, KV heads and FFN widths, expert ranks divide those
// of a stage and the experts, they fill nodes evenly, stage_layers adds up to the model's layers or, without it,
// there are no more stages than layers, the batch divides into micro-batches.
[[nodiscard]] Groups check_layout(const model::ModelConfig& model, const cluster::Cluster& cluster, const Job& job,
                                  const Phase& phase);

// Stages with the embedding before the first layer; head, then each MTP module (projection, MoE layer, head) after
// the last, as DualPipe places them (DeepSeek-V3 report, section 3.2.1).
// Layers of each stage: the layout's, or the model's layers spread evenly over pipeline x `slots` stages (the kind of
// schedule may hold two; else layout.chunks), the larger shares in the middle, as embedding and head are at the ends.
[[nodiscard]] std::vector<int> stage_layers(const model::ModelConfig& model, const Layout& layout);
[[nodiscard]] std::vector<StageUnits> stage_units(const model::ModelConfig& model, const Layout& layout,
                                                  const std::vector<double>& layer_load_factors = {});

}  // namespace lastbit::sim::train
