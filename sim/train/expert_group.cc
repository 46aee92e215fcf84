#include "sim/train/expert_group.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "core/error.h"
#include "core/parallel.h"
#include "io/routing_trace.h"
#include "sim/train/chunk.h"
#include "sim/train/link_use.h"
#include "sim/workload/traffic.h"

namespace lastbit::sim::train {
namespace {

using schedule::Op;
using schedule::Schedule;
using schedule::Units;
using schedule::Verb;
using workload::TransferKind;

// What one layer's routing of one window asks of each rank, over the mean of even routing.
struct RankShares {
  std::vector<double> rows;  // [ranks] over the mean
  std::vector<double> sent;  // [ranks] tokens to other nodes, one a node
  std::vector<double> received;
  std::vector<double> nvlink;  // tokens to other GPUs of the node
  std::vector<double> nvlink_received;
};

struct Replay {
  std::int64_t window_tokens = 0;
  std::int64_t windows = 1;
  double scale = 1;                             // tokens of a micro-batch over those of a window
  std::vector<std::vector<RankShares>> layers;  // [MoE layers][windows]
};

workload::RoutedTokens window_of(const workload::RoutedTokens& tokens, std::int64_t window, std::int64_t size) {
  workload::RoutedTokens part{tokens.experts, tokens.top_k, {}};
  const auto begin = tokens.choices.begin() + window * size * tokens.top_k;
  part.choices.assign(begin, begin + size * tokens.top_k);
  return part;
}

std::vector<double> doubles(const std::vector<std::int64_t>& counts) { return {counts.begin(), counts.end()}; }

RankShares shares_of(const workload::RoutedTokens& tokens, const workload::Placement& placement) {
  const workload::Traffic traffic = workload::token_traffic(tokens, placement);
  const workload::GpuTraffic gpus = workload::forwarded_traffic(traffic);
  RankShares shares;
  shares.rows.assign(static_cast<std::size_t>(placement.gpus), 0);
  double all = 0;
  for (std::int32_t slot = 0; slot < placement.slots(); ++slot) {
    const double rows = static_cast<double>(traffic.slot_rows[static_cast<std::size_t>(slot)]);
    shares.rows[static_cast<std::size_t>(placement.gpu_of(slot))] += rows;
    all += rows;
  }
  for (double& rows : shares.rows) rows *= placement.gpus / std::max(1.0, all);
  shares.sent = doubles(gpus.network_sent);
  shares.received = doubles(gpus.network_received);
  shares.nvlink = doubles(gpus.nvlink_sent);
  shares.nvlink_received = doubles(gpus.nvlink_received);
  return shares;
}

Replay read_replay(const model::ModelConfig& model, const Job& job, const workload::LayerSetting& setting,
                   const std::string& path, std::uint64_t seed, std::size_t moe_layers) {
  const io::RoutingTrace trace = io::load_routing_trace(path);
  const int experts = static_cast<int>(model.n_routed_experts);
  const int top_k = static_cast<int>(model.num_experts_per_tok);
  const int ranks = job.layout.expert;
  const int nodes = std::max(1, static_cast<int>(ranks / setting.routing.ranks_per_node));
  const workload::Placement placement = workload::contiguous_placement(experts, ranks, nodes);
  const std::int64_t recorded = std::accumulate(trace.tokens.begin(), trace.tokens.end(), std::int64_t{0});
  const double wanted = setting.tokens / setting.tensor_parallel * ranks;
  Replay replay;
  replay.window_tokens = std::min(recorded, static_cast<std::int64_t>(wanted));
  if (replay.window_tokens < ranks) {
    core::fail_input("{}: {} tokens, expected at least one for each of the {} expert ranks", path, recorded, ranks);
  }
  replay.windows = recorded / replay.window_tokens;
  replay.scale = wanted / static_cast<double>(replay.window_tokens);
  std::vector<std::vector<RankShares>> recorded_layers(trace.layers.size());
  core::parallel_for(static_cast<std::int64_t>(trace.layers.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto layer = static_cast<std::size_t>(begin); layer < static_cast<std::size_t>(end); ++layer) {
      workload::RoutedTokens tokens = workload::trace_tokens(trace, layer);
      if (trace.experts != experts || trace.top_k != top_k) {
        tokens = workload::segment_experts(tokens, static_cast<int>(trace.groups), experts, top_k, seed);
      }
      for (std::int64_t window = 0; window < replay.windows; ++window) {
        recorded_layers[layer].push_back(shares_of(window_of(tokens, window, replay.window_tokens), placement));
      }
    }
  });
  for (std::size_t layer = 0; layer < moe_layers; ++layer) {
    replay.layers.push_back(recorded_layers[layer * recorded_layers.size() / moe_layers]);
  }
  return replay;
}

// Chunks of the group, by verb, stages and windows.
class GroupChunks {
 public:
  GroupChunks(const ChunkModel& chunks, const cost::CostModel& cost, const workload::LayerSetting& setting,
              const Replay& replay, const StepTraffic& traffic, double second_message_s)
      : chunks_(chunks),
        cost_(cost),
        setting_(setting),
        replay_(replay),
        traffic_(traffic),
        second_message_s_(second_message_s) {}

  SimTime at(const Schedule& schedule, int rank, const Op& op) {
    const int stage = schedule.at(rank, op.chunk.slot).stage;
    const std::int64_t window = op.chunk.micro_batch % replay_.windows;
    const bool fused = op.verb == Verb::kFused;
    const int second = fused ? schedule.at(rank, op.second.slot).stage : -1;
    const std::int64_t second_window = fused ? op.second.micro_batch % replay_.windows : 0;
    const auto key = std::make_tuple(op.verb, stage, window, second, second_window);
    const auto found = times_.find(key);
    if (found != times_.end()) return {found->second};
    const double seconds = simulate(op.verb, stage, window, second, second_window);
    return {times_[key] = seconds + traffic_.exposed_s(op.verb, stage, second, seconds)};
  }

 private:
  using StageRanks = std::vector<Units>;  // [ranks]

  double simulate(Verb verb, int stage, std::int64_t window, int second, std::int64_t second_window) {
    const schedule::Group first = group(units(stage, window));
    switch (verb) {
      case Verb::kForward:
        return run_forward(first).total.s;
      case Verb::kBackward:
        return run_backward(first).total.s;
      case Verb::kBackwardInput:
        return run_backward_input(first).total.s;
      case Verb::kWeight:
        return run_weight(first).total.s;
      case Verb::kFused:
        break;
    }
    return run_fused(first, group(units(second, second_window))).total.s + second_message_s_;
  }

  static schedule::Group group(const StageRanks& ranks) {
    schedule::Group result;
    for (const Units& units : ranks) result.push_back(&units);
    return result;
  }

  const StageRanks& units(int stage, std::int64_t window) {
    const auto found = units_.find({stage, window});
    if (found != units_.end()) return found->second;
    StageRanks ranks(static_cast<std::size_t>(setting_.routing.expert_ranks));
    const StageUnits& held = chunks_.stages()[static_cast<std::size_t>(stage)];
    core::parallel_for(static_cast<std::int64_t>(ranks.size()), 8, [&](std::int64_t begin, std::int64_t end) {
      for (auto rank = static_cast<std::size_t>(begin); rank < static_cast<std::size_t>(end); ++rank) {
        for (const StageUnit& unit : held) ranks[rank].push_back(rank_unit(unit, window, rank));
      }
    });
    return units_[{stage, window}] = std::move(ranks);
  }

  [[nodiscard]] schedule::Unit rank_unit(const StageUnit& unit, std::int64_t window, std::size_t rank) const {
    if (unit.kind != UnitKind::kMoeLayer) return chunks_.times(unit);
    const RankShares& shares =
        replay_.layers[static_cast<std::size_t>(unit.moe_layer)][static_cast<std::size_t>(window)];
    StageUnit own = unit;
    own.load_factor = std::max(1e-6, shares.rows[rank]);
    schedule::Unit times = chunks_.times(own);
    set_transfers(times.alone, shares, rank, cost::Company::kAlone);
    set_transfers(times.beside, shares, rank, cost::Company::kBesideCompute);
    return times;
  }

  // Combine sends what dispatch received, and the other way round; a rank is done when both ways are.
  void set_transfers(schedule::UnitTimes& times, const RankShares& shares, std::size_t rank,
                     cost::Company company) const {
    const double nodes = workload::expert_nodes(setting_.routing);
    for (std::size_t t = 0; t < workload::kNumTransfers; ++t) {
      const auto kind = static_cast<TransferKind>(t);
      const bool dispatch = kind == TransferKind::kDispatchForward || kind == TransferKind::kDispatchBackward;
      const double token_bytes = static_cast<double>(setting_.model.hidden_size) *
                                 (dispatch ? setting_.dispatch_bytes : setting_.combine_bytes) * replay_.scale;
      workload::Transfer transfer;
      transfer.nic_bytes = std::max(shares.sent[rank], shares.received[rank]) * token_bytes;
      transfer.logical_bytes = nodes > 1 ? transfer.nic_bytes * nodes / (nodes - 1) : transfer.nic_bytes;
      transfer.nvlink_bytes = shares.nvlink[rank] * token_bytes;
      // Full recomputation runs the forward's all-to-alls once more in backward (workload/layer.h).
      const bool backward = kind == TransferKind::kDispatchBackward || kind == TransferKind::kCombineBackward;
      if (backward && setting_.recompute == workload::Recompute::kFull) {
        for (double* bytes : {&transfer.nic_bytes, &transfer.logical_bytes, &transfer.nvlink_bytes}) *bytes *= 2;
      }
      const cost::TransferCost cost = cost_.transfer_time(kind, transfer, setting_.routing.expert_ranks, company);
      times.transfers[t] = cost.wait_s + cost.transfer.seconds;
    }
  }

  const ChunkModel& chunks_;
  const cost::CostModel& cost_;
  const workload::LayerSetting& setting_;
  const Replay& replay_;
  const StepTraffic& traffic_;
  double second_message_s_;
  std::map<std::pair<int, std::int64_t>, StageRanks> units_;
  std::map<std::tuple<Verb, int, std::int64_t, int, std::int64_t>, double> times_;
};

// Over one micro-batch of a layer, forward and backward: what comes in by dispatch goes out again by combine.
double busier_way(double sent, double received, const workload::LayerSetting& setting, double scale) {
  const double passes = setting.recompute == workload::Recompute::kFull ? 3 : 2;
  const double channels = passes * scale * static_cast<double>(setting.model.hidden_size);
  const double dispatch = channels * setting.dispatch_bytes;
  const double combine = channels * setting.combine_bytes;
  return std::max(sent * dispatch + received * combine, received * dispatch + sent * combine);
}

// Windows count alike: the step's micro-batches take them in turn.
void add_link_use(const PhaseForecast& folded, const std::vector<StageUnits>& stages, const Replay& replay,
                  const workload::LayerSetting& setting, const cost::CostModel& cost, GroupReplay& result) {
  const auto ranks = static_cast<std::size_t>(setting.routing.expert_ranks);
  result.ranks_per_node = static_cast<int>(setting.routing.ranks_per_node);
  for (int pipeline = 0; pipeline < folded.lists.ranks; ++pipeline) {
    std::vector<double> nic(ranks, 0);
    std::vector<double> nvlink(ranks, 0);
    for (const auto& [stage, micro_batches] : forwards_of(folded.lists, pipeline)) {
      for (const StageUnit& unit : stages[static_cast<std::size_t>(stage)]) {
        if (unit.kind != UnitKind::kMoeLayer) continue;
        for (const RankShares& shares : replay.layers[static_cast<std::size_t>(unit.moe_layer)]) {
          const double times = micro_batches / static_cast<double>(replay.windows);
          for (std::size_t rank = 0; rank < ranks; ++rank) {
            nic[rank] +=
                times * cost.nic_time(busier_way(shares.sent[rank], shares.received[rank], setting, replay.scale));
            nvlink[rank] += times * cost.nvlink_time(busier_way(shares.nvlink[rank], shares.nvlink_received[rank],
                                                                setting, replay.scale));
          }
        }
      }
    }
    result.nic_s.push_back(std::move(nic));
    result.nvlink_s.push_back(std::move(nvlink));
  }
}

}  // namespace

LinkSpread link_spread(const std::vector<std::vector<double>>& seconds) {
  LinkSpread spread;
  double links = 0;
  for (std::size_t rank = 0; rank < seconds.size(); ++rank) {
    for (std::size_t gpu = 0; gpu < seconds[rank].size(); ++gpu) {
      const double link_s = seconds[rank][gpu];
      spread.mean_s += link_s;
      links += 1;
      if (link_s > spread.most_s) spread = {spread.mean_s, link_s, rank, gpu};
    }
  }
  spread.mean_s /= std::max(1.0, links);
  return spread;
}

GroupReplay replay_group(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost,
                         const PhaseForecast& folded, const std::string& trace, std::uint64_t seed) {
  if (model.n_routed_experts == 0 || job.layout.expert < 2) {
    core::fail_input("--unfold: the job has no experts that ranks share");
  }
  const workload::LayerSetting setting = layer_setting(model, job, cost, folded.phase);
  const ChunkModel chunks(cost, setting, job.precision.communication_sms, stage_units(model, job.layout));
  std::size_t moe_layers = 0;
  for (const StageUnits& stage : chunks.stages()) {
    for (const StageUnit& unit : stage) moe_layers += unit.kind == UnitKind::kMoeLayer ? 1 : 0;
  }
  const Replay replay = read_replay(model, job, setting, trace, seed, moe_layers);
  const StepTraffic traffic = phase_traffic(model, job, cost, chunks.stages(), folded.schedule, folded.groups);
  GroupChunks times(chunks, cost, setting, replay, traffic, folded.hop_s);
  schedule::Costs costs;
  const double jitter = cost.assumptions()["jitter"];
  costs.duration = [&](const Schedule& lists, int rank, const Op& op) {
    return SimTime{jitter * times.at(lists, rank, op).s};
  };
  const double exposed = cost.assumptions()["pipeline_exposed"];
  costs.hop = [&](int from, int to) {
    return SimTime{exposed * hop_time(cost, job, folded.groups, setting, from, to)};
  };
  GroupReplay result;
  result.step_s = schedule::execute(folded.lists, costs).total.s + (folded.step_s - folded.pipeline_s);
  result.folded_step_s = folded.step_s;
  result.windows = replay.windows;
  result.tokens = replay.window_tokens;
  add_link_use(folded, chunks.stages(), replay, setting, cost, result);
  double sum = 0;
  for (const std::vector<RankShares>& layer : replay.layers) {
    for (const RankShares& shares : layer) {
      const double factor = *std::max_element(shares.rows.begin(), shares.rows.end());
      sum += factor / static_cast<double>(replay.windows);
      result.worst_load_factor = std::max(result.worst_load_factor, factor);
    }
  }
  result.mean_load_factor = sum / static_cast<double>(replay.layers.size());
  return result;
}

}  // namespace lastbit::sim::train
