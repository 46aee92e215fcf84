// The max-min network: time from a list of flows to all completions, beside SimGrid 3.32 on the same flows in the same
// run where libsimgrid-dev is installed, and against the numbers of GPUs and flows. The fabric is that of one of the
// ground truth's makers: 8 GPUs a host with 160 GB/s of NVLink and a 50 GB/s NIC each, 8 hosts a leaf, 16 spines.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "bench/simgrid.h"
#include "core/heap.h"
#include "core/philox.h"
#include "sim/cluster/cluster.h"
#include "sim/network/collective.h"
#include "sim/network/expert_parallel.h"
#include "sim/network/progressive_filling.h"
#include "sim/network/ranks.h"
#include "sim/network/router.h"
#include "sim/network/solve.h"

namespace lastbit::sim::network {
namespace {

[[maybe_unused]] const bool kHeap = (core::keep_freed_memory(), true);  // as the program does

// Links of 200 GB/s from leaf to spine carry what the leaf's NICs can; `tapered` ones of 50 GB/s a quarter of that.
Fabric fat_tree(int gpus, bool tapered) {
  std::vector<std::string> settings{"network.fabric=fat-tree-2",        "network.planes=1",
                                    "network.nodes_per_leaf=8",         "network.spines=16",
                                    "network.switch_radix=128",         "network.nic_attainable=50 GB/s",
                                    "nodes=" + std::to_string(gpus / 8)};
  settings.push_back(std::string("network.links_per_spine=") + (tapered ? "1" : "4"));
  for (std::string& setting : settings) setting = "cluster." + setting;
  return Fabric(cluster::load_cluster("h800-2048", cluster::parse_overrides(settings)), Rates::kAttainable);
}

struct Traffic {
  LinkList links;  // without latency
  FlowList flows;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ends;
};

// All-to-alls in groups of `size`; the hosts of a group follow each other, or are `spread` over all leaves.
Traffic all_to_all(const Fabric& fabric, std::uint32_t size, bool spread, bool random_sizes) {
  Traffic traffic;
  traffic.links = fabric.links();
  std::fill(traffic.links.latency_s.begin(), traffic.links.latency_s.end(), 0.0);
  Router router(fabric);
  const core::RandomStream sizes(1, "flow sizes");
  const std::uint32_t gpus = fabric.num_gpus();
  const std::uint32_t groups = gpus / size;
  const auto gpu_of = [&](std::uint32_t group, std::uint32_t rank) {
    return spread ? (rank / 8 * groups + group) * 8 + rank % 8 : group * size + rank;
  };
  std::vector<std::uint32_t> route;
  for (std::uint32_t group = 0; group < groups; ++group) {
    for (std::uint32_t from = 0; from < size; ++from) {
      for (std::uint32_t to = 0; to < size; ++to) {
        if (from == to) continue;
        const double bytes = random_sizes ? 1e5 + sizes.word(traffic.flows.size()) % 10000000U : 1e6;
        router.route(gpu_of(group, from), gpu_of(group, to), bytes, route);
        traffic.flows.add(0, bytes, route);
        traffic.ends.emplace_back(gpu_of(group, from), gpu_of(group, to));
      }
    }
  }
  return traffic;
}

void solve_all(benchmark::State& state, const Traffic& traffic, bool fold) {
  Answer answer;
  for (auto _ : state) {
    answer = solve(traffic.links, traffic.flows, {.fold = fold});
    benchmark::DoNotOptimize(answer.makespan_s);
  }
  state.counters["flows"] = static_cast<double>(traffic.flows.size());
  state.counters["classes"] = static_cast<double>(answer.flow_classes);
}

// 129,024 equal flows: EP64 groups on 2048 GPUs. Arguments: spread over the leaves, tapered, folded.
void ep64_groups_2048_gpus(benchmark::State& state) {
  solve_all(state, all_to_all(fat_tree(2048, state.range(1) != 0), 64, state.range(0) != 0, false),
            state.range(2) != 0);
}
BENCHMARK(ep64_groups_2048_gpus)
    ->ArgNames({"spread", "tapered", "fold"})
    ->ArgsProduct({{0, 1}, {0, 1}, {0, 1}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// Ours and SimGrid's, one after the other, and how much faster ours is: `ratio` beside the fastest way to drive SimGrid
// that we know, `sendto_ratio` beside an actor a flow.
void beside_simgrid(benchmark::State& state, const Traffic& traffic) {
  Answer answer;
  double least_s = 1e9;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    answer = solve(traffic.links, traffic.flows, {});
    least_s = std::min(least_s, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  state.counters["flows"] = static_cast<double>(traffic.flows.size());
  const auto run = [&traffic](bench::SimgridActors actors) {
    return bench::run_simgrid(traffic.links, traffic.flows, traffic.ends, actors);
  };
  const bench::SimgridRun rival = run(bench::SimgridActors::kOne);
  if (!rival.available) {
    state.SetLabel("libsimgrid-dev is not installed");
    return;
  }
  const bench::SimgridRun sendto = run(bench::SimgridActors::kOnePerFlow);
  if (!sendto.available) {
    state.SkipWithError("SimGrid with an actor a flow did not come to its end");
    return;
  }
  state.counters["ours_ms"] = 1e3 * least_s;
  state.counters["simgrid_ms"] = 1e3 * rival.run_s;
  state.counters["simgrid_sendto_ms"] = 1e3 * sendto.run_s;
  state.counters["simgrid_build_ms"] = 1e3 * rival.build_s;
  state.counters["ratio"] = rival.run_s / least_s;
  state.counters["sendto_ratio"] = sendto.run_s / least_s;
  state.counters["difference"] = std::max(worst_relative_difference(answer.completion_s, rival.completion_s),
                                          worst_relative_difference(answer.completion_s, sendto.completion_s));
}

// Full all-to-all of equal flows. Arguments: GPUs, tapered.
void alltoall_beside_simgrid(benchmark::State& state) {
  const auto gpus = static_cast<int>(state.range(0));
  beside_simgrid(state,
                 all_to_all(fat_tree(gpus, state.range(1) != 0), static_cast<std::uint32_t>(gpus), false, false));
}
BENCHMARK(alltoall_beside_simgrid)
    ->ArgNames({"gpus", "tapered"})
    ->Args({64, 0})
    ->Args({160, 0})
    ->Args({160, 1})
    ->Iterations(5)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// 4,032 flows of random sizes: as many completions. Arguments: 64 GPUs on one leaf, or spread over eight; tapered,
// which fills links between leaves and spines at times.
void random_sizes_beside_simgrid(benchmark::State& state) {
  const bool spread = state.range(0) != 0;
  const Fabric fabric = fat_tree(spread ? 512 : 64, state.range(1) != 0);
  Traffic traffic = all_to_all(fabric, 64, spread, true);
  if (spread) {  // the first of the eight groups
    Traffic first{traffic.links, {}, {traffic.ends.begin(), traffic.ends.begin() + 4032}};
    for (std::size_t i = 0; i < 4032; ++i) first.flows.add(0, traffic.flows.bytes(i), traffic.flows.route(i));
    traffic = std::move(first);
  }
  beside_simgrid(state, traffic);
}
BENCHMARK(random_sizes_beside_simgrid)
    ->ArgNames({"spread", "tapered"})
    ->Args({0, 0})
    ->Args({1, 0})
    ->Args({1, 1})
    ->Iterations(5)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// The plain twin on the smallest of these.
void random_sizes_plain_twin(benchmark::State& state) {
  const Traffic traffic = all_to_all(fat_tree(16, false), 16, false, true);
  for (auto _ : state)
    benchmark::DoNotOptimize(progressive_filling(traffic.links, traffic.flows, Sharing::kMaxMin).back());
}
BENCHMARK(random_sizes_plain_twin)->Unit(benchmark::kMillisecond);

// From the cluster's name to the time of an EP64 dispatch, all groups at once. Arguments: GPUs, node-limited and
// forwarded over NVLink or once per rank straight.
void ep64_dispatch(benchmark::State& state) {
  std::size_t flows = 0;
  for (auto _ : state) {
    const cluster::Cluster cluster = cluster::load_cluster(
        "h800-2048", cluster::parse_overrides(
                         {"cluster.network.switch_radix=256", "cluster.nodes=" + std::to_string(state.range(0) / 8)}));
    const Fabric fabric(cluster, Rates::kMessages);
    Router router(fabric);
    ExpertParallel setting;
    setting.mode = state.range(1) != 0 ? DispatchMode::kForwarded : DispatchMode::kFlat;
    setting.tokens = 4096;
    setting.token_bytes = token_bytes(7168, "fp8");
    setting.routing = {.experts = 256, .groups = 8, .kept_groups = 4, .top_k = 8};
    std::vector<Phase> phases;  // not a list in braces, which would copy all flows
    phases.push_back(expert_parallel_phase(setting, parse_groups("64", "all", fabric), fabric, router));
    flows = phases.front().flows.size();
    benchmark::DoNotOptimize(run_phases(fabric, phases, {}).seconds);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  state.counters["flows"] = static_cast<double>(flows);
  state.counters["process_peak_MB"] = static_cast<double>(usage.ru_maxrss) / 1e3;
}
BENCHMARK(ep64_dispatch)
    ->ArgNames({"gpus", "forwarded"})
    ->ArgsProduct({{2048, 16384, 131072}, {1, 0}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lastbit::sim::network
