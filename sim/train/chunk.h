// Times of a pipeline stage's chunks, by running their operators on a compute and a communication stream.
#pragma once

#include <array>
#include <map>
#include <utility>
#include <vector>

#include "sim/cost/cost_model.h"
#include "sim/schedule/overlap.h"
#include "sim/train/layout.h"

namespace lastbit::sim::train {

struct ChunkTime {
  double seconds = 0;
  double exposed_s = 0;  // of those, the compute stream waits for communication
};

// Operators and the time in them, by where the time comes from.
struct Census {
  std::array<int, cost::kNumProvenances> operators{};
  std::array<double, cost::kNumProvenances> seconds{};
};

// The profiled chunk as the model runs it.
struct ProfileCheck {
  double span_s = 0;
  double compute_s = 0;   // the compute stream is busy
  double transfer_s = 0;  // dispatch and combine, without waits
  double hidden_s = 0;    // of that, while something is computed
};

// Every rank of a stage does the same at the same time, so one rank's two streams stand for all (schedule/overlap.h).
class ChunkModel {
 public:
  ChunkModel(const cost::CostModel& cost, const workload::LayerSetting& setting, int communication_sms,
             std::vector<StageUnits> stages);

  [[nodiscard]] ChunkTime forward(int stage) const;
  [[nodiscard]] ChunkTime backward(int stage) const;  // input and weight gradients
  [[nodiscard]] ChunkTime backward_input(int stage) const;
  [[nodiscard]] ChunkTime weight(int stage) const;
  [[nodiscard]] ChunkTime fused(int forward_stage, int backward_stage) const;
  // The same for any units: a fused chunk of layers that no stage holds, such as the profiled one.
  [[nodiscard]] ChunkTime fused_units(const StageUnits& forward_units, const StageUnits& backward_units) const;

  // `layers` MoE layers forward beside as many backward (deepseek-ai/profile-data).
  [[nodiscard]] ProfileCheck profile_check(int layers) const;
  // Whether the model's MoE layer is the profile's, on its GPU: every GEMM and attention core one that was measured
  // there.
  [[nodiscard]] bool is_profiled() const;
  // One unit, alone and beside communication.
  [[nodiscard]] schedule::Unit times(const StageUnit& unit) const;

  [[nodiscard]] const std::vector<StageUnits>& stages() const { return stages_; }
  // Over one forward and backward of every unit of the model, beside communication.
  [[nodiscard]] Census census() const;

 private:
  enum class Setting { kSolo, kBesideCommunication };
  [[nodiscard]] schedule::Units units(const StageUnits& stage) const;
  [[nodiscard]] schedule::UnitTimes unit_times(const StageUnit& unit, Setting setting) const;
  [[nodiscard]] schedule::UnitTimes layer_times(const workload::LayerWork& work, Setting setting) const;
  [[nodiscard]] workload::LayerWork work_of(const StageUnit& layer) const;
  [[nodiscard]] schedule::UnitTimes end_times(UnitKind kind, Setting setting) const;
  [[nodiscard]] double sms(Setting setting) const;

  const cost::CostModel& cost_;
  workload::LayerSetting setting_;
  int communication_sms_;
  std::vector<StageUnits> stages_;
  std::map<std::pair<UnitKind, double>, schedule::Unit> times_;  // of the stages' units, by kind and load
};

}  // namespace lastbit::sim::train
