#include "sim/train/phase.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "sim/schedule/build.h"
#include "sim/train/optimizer_step.h"

namespace lastbit::sim::train {
namespace {

using schedule::Op;
using schedule::Schedule;
using schedule::Verb;

// Chunk times by verb and stages, each simulated once.
class ChunkTable {
 public:
  ChunkTable(const ChunkModel& chunks, double second_message_s, double jitter, const StepTraffic& traffic)
      : chunks_(chunks), second_message_s_(second_message_s), jitter_(jitter), traffic_(traffic) {}

  ChunkTime at(const Schedule& schedule, int rank, const Op& op) {
    const int stage = schedule.at(rank, op.chunk.slot).stage;
    const int second = op.verb == Verb::kFused ? schedule.at(rank, op.second.slot).stage : -1;
    return at(op.verb, stage, second);
  }
  ChunkTime at(Verb verb, int stage, int second) {
    const auto key = std::make_tuple(verb, stage, second);
    const auto found = times_.find(key);
    if (found != times_.end()) return found->second;
    ChunkTime time = simulate(verb, stage, second);
    const double exposed_s = traffic_.exposed_s(verb, stage, second, time.seconds);
    time.seconds = (time.seconds + exposed_s) * jitter_;
    time.exposed_s += exposed_s;
    return times_[key] = time;
  }

 private:
  ChunkTime simulate(Verb verb, int stage, int second) const {
    switch (verb) {
      case Verb::kForward:
        return chunks_.forward(stage);
      case Verb::kBackward:
        return chunks_.backward(stage);
      case Verb::kBackwardInput:
        return chunks_.backward_input(stage);
      case Verb::kWeight:
        return chunks_.weight(stage);
      case Verb::kFused: {
        // A fused chunk's activation and gradient leave over one NIC: the second waits for the first.
        ChunkTime time = chunks_.fused(stage, second);
        return {time.seconds + second_message_s_, time.exposed_s + second_message_s_};
      }
    }
    core::check(false, "every verb has a time");
    return {};
  }

  const ChunkModel& chunks_;
  double second_message_s_;
  double jitter_;
  const StepTraffic& traffic_;
  std::map<std::tuple<Verb, int, int>, ChunkTime> times_;
};

Schedule build_lists(const Job& job, const std::string& kind, const Groups& groups, ChunkTable& table, double hop_s,
                     int stages) {
  schedule::BuildParams params;
  params.ranks = job.layout.pipeline;
  params.micro_batches = groups.micro_batches;
  params.chunks = kind == "interleaved" ? std::max(1, stages / params.ranks) : 1;
  params.hop = {hop_s};
  // Zero-bubble lists are placed by the times of the parts, which a full backward overlaps better than they do apart.
  for (int stage = 0; stage < stages; ++stage) {
    const double weight_s = table.at(Verb::kWeight, stage, -1).seconds;
    params.stages.push_back({{table.at(Verb::kForward, stage, -1).seconds},
                             {table.at(Verb::kBackwardInput, stage, -1).seconds + weight_s},
                             {weight_s}});
  }
  Schedule lists = schedule::build(kind, params);
  if (lists.stages != stages) {
    core::fail_input("layout: stage_layers has {} stages, but {} on {} ranks has {}", stages, lists.kind, params.ranks,
                     lists.stages);
  }
  return lists;
}

Breakdown rank_breakdown(const PhaseForecast& forecast, std::size_t rank, ChunkTable& table,
                         const OptimizerTime& optimizer) {
  const schedule::Execution& run = forecast.execution;
  Breakdown result;
  result.forward_s = run.split[rank].forward.s;
  result.backward_s = run.split[rank].backward.s;
  result.weight_s = run.split[rank].weight.s;
  result.fused_s = run.split[rank].fused.s;
  result.bubble_s = run.bubble[rank].s;
  result.optimizer_s = optimizer.seconds();
  result.exposed_comm_s = optimizer.reduce_s + optimizer.gather_s;
  for (const schedule::TimedOp& timed : run.timeline[rank]) {
    result.exposed_comm_s += table.at(forecast.lists, static_cast<int>(rank), timed.op).exposed_s;
  }
  return result;
}

void add(Breakdown& sum, const Breakdown& part, double weight) {
  sum.forward_s += weight * part.forward_s;
  sum.backward_s += weight * part.backward_s;
  sum.weight_s += weight * part.weight_s;
  sum.fused_s += weight * part.fused_s;
  sum.bubble_s += weight * part.bubble_s;
  sum.optimizer_s += weight * part.optimizer_s;
  sum.exposed_comm_s += weight * part.exposed_comm_s;
}

std::vector<StageForecast> stage_forecasts(const ChunkModel& chunks, const Schedule& lists, ChunkTable& table) {
  std::vector<StageForecast> stages(chunks.stages().size());
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const int stage = static_cast<int>(s);
    for (const StageUnit& unit : chunks.stages()[s]) {
      stages[s].layers += unit.kind == UnitKind::kDenseLayer || unit.kind == UnitKind::kMoeLayer ? 1 : 0;
    }
    stages[s].forward_s = table.at(Verb::kForward, stage, -1).seconds;
    stages[s].backward_s = table.at(Verb::kBackward, stage, -1).seconds;
    stages[s].weight_s = table.at(Verb::kWeight, stage, -1).seconds;
    for (const auto& slots : lists.placement) {
      if (lists.paths == 2 && slots.size() == 2 && slots.front().stage == stage) {
        stages[s].fused_s = table.at(Verb::kFused, stage, slots.back().stage).seconds;
      }
    }
  }
  return stages;
}

}  // namespace

workload::LayerSetting layer_setting(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                                     const Phase& phase) {
  workload::LayerSetting setting;
  setting.model = model;
  setting.sequence_tokens = phase.sequence_tokens;
  setting.tokens =
      static_cast<double>(phase.sequence_tokens) / phase.context_parallel * job.layout.micro_batch_sequences;
  setting.context_parallel = phase.context_parallel;
  setting.tensor_parallel = job.layout.tensor;
  setting.recompute = job.layout.recompute;
  setting.fused_attention = job.layout.fused_attention;
  setting.routing.experts = static_cast<double>(model.n_routed_experts);
  setting.routing.groups = static_cast<double>(model.n_group);
  setting.routing.kept_groups = static_cast<double>(model.topk_group);
  setting.routing.top_k = static_cast<double>(model.num_experts_per_tok);
  setting.routing.expert_ranks = job.layout.expert;
  setting.routing.ranks_per_node = cost.cluster().node.gpus;
  setting.load_factor = cost.without()[cost::Cause::kImbalance] ? 1 : cost.assumptions()["routing_load_factor"];
  setting.format = job.precision.gemm;
  setting.dispatch_bytes = job.precision.dispatch_bytes;
  setting.combine_bytes = job.precision.combine_bytes;
  return setting;
}

double hop_time(const cost::CostModel& cost, const Job& job, const Groups& groups,
                const workload::LayerSetting& setting, int from, int to) {
  if (job.layout.pipeline == 1 || cost.without()[cost::Cause::kPipelineTransfers]) return 0;
  const double bytes = setting.tokens / setting.tensor_parallel * static_cast<double>(setting.model.hidden_size) *
                       cost.assumptions()["pipeline_bytes"];
  const cluster::Cluster& cluster = cost.cluster();
  // Pipeline rank r is the GPUs from r x stage_ranks on: the pair shares a node from its first GPU to its last.
  const int stage_ranks = groups.world / job.layout.pipeline;
  const int first = std::min(from, to) * stage_ranks;
  const int last = (std::max(from, to) + 1) * stage_ranks - 1;
  if (first / cluster.node.gpus == last / cluster.node.gpus) {
    return cost.nvlink_time(bytes) + cluster.node.nvlink_latency_s;
  }
  return cost.nic_time(bytes) + cluster.network.latency_s;
}

double slowest_hop(const cost::CostModel& cost, const Job& job, const Groups& groups,
                   const workload::LayerSetting& setting) {
  double slowest = 0;
  for (int rank = 0; rank + 1 < job.layout.pipeline; ++rank) {
    slowest = std::max(slowest, hop_time(cost, job, groups, setting, rank, rank + 1));
  }
  return slowest;
}

StepTraffic phase_traffic(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                          const std::vector<StageUnits>& stages, const std::string& schedule, const Groups& groups) {
  const double copies = schedule == "dualpipe" ? 2 : 1;  // DualPipe holds every stage twice
  return step_traffic(cost, model, job, stages, groups.world / job.layout.pipeline, copies);
}

PhaseForecast forecast_phase(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                             const Phase& phase) {
  PhaseForecast forecast;
  forecast.phase = phase;
  forecast.schedule = phase.schedule.empty() ? job.layout.schedule : phase.schedule;
  forecast.groups = check_layout(model, cost.cluster(), job, phase);
  const workload::LayerSetting setting = layer_setting(model, job, cost, phase);
  const std::vector<double> loads =
      cost.without()[cost::Cause::kImbalance] ? std::vector<double>{} : job.layer_load_factors;
  const ChunkModel chunks(cost, setting, job.precision.communication_sms, stage_units(model, job.layout, loads));
  forecast.hop_s = cost.assumptions()["pipeline_exposed"] * slowest_hop(cost, job, forecast.groups, setting);
  const double jitter = cost.without()[cost::Cause::kJitter] ? 1 : cost.assumptions()["jitter"];
  const StepTraffic traffic = phase_traffic(model, job, cost, chunks.stages(), forecast.schedule, forecast.groups);
  ChunkTable table(chunks, forecast.hop_s, jitter, traffic);
  forecast.lists = build_lists(job, forecast.schedule, forecast.groups, table, forecast.hop_s,
                               static_cast<int>(chunks.stages().size()));
  schedule::Costs costs;
  costs.duration = [&table](const Schedule& lists, int rank, const Op& op) {
    return SimTime{table.at(lists, rank, op).seconds};
  };
  const double exposed = cost.assumptions()["pipeline_exposed"];
  costs.hop = [&](int from, int to) {
    return SimTime{exposed * hop_time(cost, job, forecast.groups, setting, from, to)};
  };
  forecast.execution = schedule::execute(forecast.lists, costs);

  const OptimizerTime optimizer =
      optimizer_time(cost, model, job, forecast.lists, chunks.stages(), forecast.groups.world / job.layout.pipeline);
  forecast.memory = job_memory(cost, model, job, setting, chunks.stages(), forecast.lists, forecast.execution,
                               forecast.groups.world / job.layout.pipeline);
  forecast.pipeline_s = forecast.execution.total.s;
  forecast.step_s = forecast.pipeline_s + optimizer.seconds();
  forecast.steps = phase.tokens / (static_cast<double>(phase.sequence_tokens) * phase.batch_sequences);
  forecast.hours = forecast.steps * forecast.step_s / 3600;
  forecast.gpu_hours = forecast.hours * forecast.groups.world;
  const auto ranks = static_cast<std::size_t>(forecast.lists.ranks);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const Breakdown own = rank_breakdown(forecast, rank, table, optimizer);
    if (rank == 0) forecast.first = own;
    add(forecast.mean, own, 1 / static_cast<double>(ranks));
  }
  forecast.stages = stage_forecasts(chunks, forecast.lists, table);
  const auto profiled = static_cast<std::size_t>(cost.calibration().profile_layers);
  if (profiled > 0 && model.n_routed_experts > 0 && chunks.is_profiled()) {
    forecast.profile = chunks.profile_check(static_cast<int>(profiled));
  }
  forecast.census = chunks.census();
  return forecast;
}

}  // namespace lastbit::sim::train
