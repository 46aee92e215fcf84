// What happens inside a chunk: the operators of its layers on a compute and a communication stream of one rank, so that
// what is hidden and what is exposed comes out rather than goes in.
#pragma once

#include <array>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/engine/sim_time.h"
#include "sim/schedule/execute.h"
#include "sim/schedule/schedule.h"
#include "sim/workload/layer.h"

namespace lastbit::sim::schedule {

// What one unit of a stage costs in one setting. Layers use the segments and transfers; ends (embedding, head) the
// three passes. In seconds, or in any one unit of time.
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

// A unit with the GPU to itself, and while communication takes its share of the SMs.
struct Unit {
  UnitTimes alone;
  UnitTimes beside;
};
// What a stage holds, in forward order.
using Units = std::vector<Unit>;

// One operator as it ran.
struct OperatorSpan {
  bool communication = false;  // which stream
  std::string name;            // "attention_forward", "dispatch_backward", "forward" (of an end), ...
  bool of_backward = false;    // whose chunk
  SimTime start;
  SimTime end;
};

struct ChunkRun {
  SimTime total;
  SimTime compute;        // the compute stream is busy, gathers not counted
  SimTime communication;  // the communication stream is busy
  std::vector<OperatorSpan> spans;

  // The part of the total in which nothing is computed.
  [[nodiscard]] SimTime exposed() const { return {total.s > compute.s ? total.s - compute.s : 0}; }
};

[[nodiscard]] ChunkRun run_forward(const Units& units);
// Input and weight gradients; the weights' run beside communication, which they hide.
[[nodiscard]] ChunkRun run_backward(const Units& units);
[[nodiscard]] ChunkRun run_backward_input(const Units& units);
[[nodiscard]] ChunkRun run_weight(const Units& units);
// A forward and a backward interleaved layer by layer as the published profile of DeepSeek-V3's training does
// (deepseek-ai/profile-data): attention forward, MLP backward, MLP weight, MLP forward, attention backward, attention
// weight on the compute stream; the gradient's dispatch, the forward dispatch, the gradient's combine, the forward
// combine on the other. Units without a partner run one by one.
[[nodiscard]] ChunkRun run_fused(const Units& forward_units, const Units& backward_units);

// The same for the ranks of an expert-parallel group, each with times of its own for the same units: an all-to-all
// begins when the last rank has come to it. total is the last rank's end, compute the mean over ranks; spans and
// communication are the first rank's.
using Group = std::vector<const Units*>;  // [ranks], at least one
[[nodiscard]] ChunkRun run_forward(const Group& group);
[[nodiscard]] ChunkRun run_backward(const Group& group);
[[nodiscard]] ChunkRun run_backward_input(const Group& group);
[[nodiscard]] ChunkRun run_weight(const Group& group);
[[nodiscard]] ChunkRun run_fused(const Group& forward_group, const Group& backward_group);

// Chunks of a model's stages by verb, each simulated once.
class ChunkTimes {
 public:
  explicit ChunkTimes(std::vector<Units> stages) : stages_(std::move(stages)) {}

  // `second`: the backward's stage of a fused chunk; -1 otherwise.
  [[nodiscard]] const ChunkRun& at(Verb verb, int stage, int second = -1);
  [[nodiscard]] const std::vector<Units>& stages() const { return stages_; }

 private:
  std::vector<Units> stages_;
  std::map<std::tuple<Verb, int, int>, ChunkRun> runs_;
};

// Costs whose durations are those of `chunks`, which must outlive them.
[[nodiscard]] Costs chunk_costs(ChunkTimes& chunks, SimTime hop, SimTime transfer = {});

}  // namespace lastbit::sim::schedule
