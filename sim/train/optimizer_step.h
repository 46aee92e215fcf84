// What follows the last backward of a step: gradient reduction, the sharded AdamW update, parameter gathering.
#pragma once

#include <vector>

#include "sim/cost/cost_model.h"
#include "sim/schedule/schedule.h"
#include "sim/train/layout.h"

namespace lastbit::sim::train {

// Parameters that one rank holds.
struct RankParameters {
  double replicated = 0;  // the same on every rank of the stage: attention, norms, shared experts, ends
  double experts = 0;     // its share of the routed experts
};

// Of the units of one stage, with the routed experts shared by `expert_ranks` and everything else by `tensor_ranks`
// (norms and MLA's down-projections too, which are small: each rank holds them whole).
[[nodiscard]] RankParameters stage_parameters(const model::ModelConfig& model, const StageUnits& units,
                                              int expert_ranks, int tensor_ranks = 1);

// What sharding beyond ZeRO-1 exchanges for every micro-batch of a stage.
struct ShardTraffic {
  double forward_s = 0;   // ZeRO-3: parameters gathered
  double backward_s = 0;  // ZeRO-3: gathered again; ZeRO-2 and 3: gradients reduced to their owners
};
// copies: ranks of a pipeline that hold the stage.
[[nodiscard]] ShardTraffic shard_traffic(const cost::CostModel& cost, const model::ModelConfig& model, const Job& job,
                                         const StageUnits& units, int stage_ranks, double copies);

// The same for all stages; `overlap` of it runs beside the chunk as far as that is long enough.
struct StepTraffic {
  std::vector<ShardTraffic> stages;
  double overlap = 0;

  // What a chunk of `chunk_s` seconds cannot hide. second: the backward stage of a fused chunk.
  [[nodiscard]] double exposed_s(schedule::Verb verb, int stage, int second, double chunk_s) const;
};
[[nodiscard]] StepTraffic step_traffic(const cost::CostModel& cost, const model::ModelConfig& model, const Job& job,
                                       const std::vector<StageUnits>& stages, int stage_ranks, double copies);

// Parameters of a stage on a rank that holds all the stages of `slots`: MTP looks tokens up in a copy of the embedding
// where the rank has none; a tied head is the embedding where the rank has it.
[[nodiscard]] RankParameters rank_parameters(const model::ModelConfig& model, const Layout& layout,
                                             const std::vector<StageUnits>& stages,
                                             const std::vector<schedule::Placement>& slots, std::size_t stage);

struct OptimizerTime {
  double reduce_s = 0;  // gradients, to their owners
  double update_s = 0;  // moments, masters and parameters through HBM
  double gather_s = 0;  // parameters, from their owners
  [[nodiscard]] double seconds() const { return reduce_s + update_s + gather_s; }
};

// The slowest rank's time: every rank waits for the global gradient norm. ZeRO-1 shards over all holders of a
// parameter, both directions of a bidirectional pipeline included: reduce-scatter, update of the shard, all-gather;
// ZeRO-0 all-reduces and updates everything; what shard_traffic()
// counts is not counted again. Collectives are hierarchical, inside the node over NVLink first.
[[nodiscard]] OptimizerTime optimizer_time(const cost::CostModel& cost, const model::ModelConfig& model, const Job& job,
                                           const schedule::Schedule& schedule, const std::vector<StageUnits>& stages,
                                           int stage_ranks);

}  // namespace lastbit::sim::train
