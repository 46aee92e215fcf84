// Times of a pipeline stage's chunks, by running their operators on a compute and a communication stream.
#pragma once

#include <array>
#include <vector>

#include "sim/cost/cost_model.h"
#include "sim/train/layout.h"

namespace lastbit::sim::train {

struct ChunkTime {
  double seconds = 0;
  double exposed_s = 0;  // of those, the compute stream waits for communication
};

// What one kind of unit costs in one setting. Layers use the segments and transfers, ends the three passes.
struct UnitTimes {
  bool layer = false;
  bool communicates = false;
  std::array<double, workload::kNumSegments> segments{};    // launch gaps and gathers included
  std::array<double, workload::kNumSegments> gathers{};     // of those, exchange among context-parallel ranks
  std::array<double, workload::kNumTransfers> transfers{};  // waits included
  double forward = 0;
  double backward = 0;
  double weight = 0;
};

// Operators and the time in them, by where the time comes from.
struct Census {
  std::array<int, cost::kNumProvenances> operators{};
  std::array<double, cost::kNumProvenances> seconds{};
};

// Every rank of a stage does the same at the same time, so one rank's two streams stand for all. A fused chunk
// interleaves a forward and a backward layer by layer as the profiled program does: attention forward, MLP backward,
// MLP weight, MLP forward, attention backward, attention weight on the compute stream; the gradient's dispatch, the
// forward dispatch, the gradient's combine, the forward combine on the other. Units without a partner run one by one.
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

  [[nodiscard]] const std::vector<StageUnits>& stages() const { return stages_; }
  // Over one forward and backward of every unit of the model, beside communication.
  [[nodiscard]] Census census() const;

 private:
  enum class Setting { kSolo, kBesideCommunication };
  [[nodiscard]] const UnitTimes& times(UnitKind kind, Setting setting) const;
  [[nodiscard]] UnitTimes layer_times(const workload::LayerWork& work, Setting setting) const;
  [[nodiscard]] UnitTimes end_times(UnitKind kind, Setting setting) const;
  [[nodiscard]] double sms(Setting setting) const;

  const cost::CostModel& cost_;
  workload::LayerSetting setting_;
  int communication_sms_;
  std::vector<StageUnits> stages_;
  std::array<std::array<UnitTimes, kNumUnitKinds>, 2> times_;
};

}  // namespace lastbit::sim::train
