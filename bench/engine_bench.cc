// Tasks a second of the simulator's engine, and the time to build and execute schedules of the size of V3's and beyond.
// An event is the end of a task: items a second are events a second.
#include <benchmark/benchmark.h>

#include "sim/engine/engine.h"
#include "sim/engine/timeline.h"
#include "sim/schedule/build.h"
#include "sim/schedule/execute.h"

namespace lastbit::sim {
namespace {

// A grid: each task waits for its stream and for the same step of the stream before it, as pipeline stages do.
engine::TaskGraph grid(std::int64_t streams, std::int64_t steps) {
  engine::TaskGraph graph;
  graph.reserve(static_cast<std::size_t>(streams * steps), static_cast<std::size_t>(streams * steps));
  const engine::LabelId name = graph.add_label("task");
  for (std::int64_t s = 0; s < streams; ++s) {
    const engine::StreamId stream = graph.add_stream("stream");
    for (std::int64_t i = 0; i < steps; ++i) {
      const double duration_s = 1 + 0.001 * static_cast<double>((s * 7 + i * 13) % 101);
      const engine::TaskId task = graph.add_task(stream, {duration_s}, name);
      if (s > 0) graph.add_dependency(task, {task.index - static_cast<std::uint32_t>(steps)}, {0.01});
    }
  }
  return graph;
}

void engine_run(benchmark::State& state) {
  const std::int64_t streams = state.range(0);
  const std::int64_t tasks = 1 << 20;
  const engine::TaskGraph graph = grid(streams, tasks / streams);
  for (auto _ : state) benchmark::DoNotOptimize(engine::run(graph).total);
  state.SetItemsProcessed(state.iterations() * tasks);
}
BENCHMARK(engine_run)->Arg(16)->Arg(256)->Arg(2048)->Unit(benchmark::kMillisecond);

void engine_run_folded(benchmark::State& state) {
  const std::int64_t streams = state.range(0);
  const std::int64_t tasks = 1 << 20;
  const engine::TaskGraph graph = grid(streams, tasks / streams);
  for (auto _ : state) {
    engine::FoldedTimeline folded(graph);
    benchmark::DoNotOptimize(engine::run(graph, folded));
  }
  state.SetItemsProcessed(state.iterations() * tasks);
}
BENCHMARK(engine_run_folded)->Arg(256)->Unit(benchmark::kMillisecond);

void engine_build_and_run(benchmark::State& state) {
  const std::int64_t streams = state.range(0);
  const std::int64_t tasks = 1 << 20;
  for (auto _ : state) benchmark::DoNotOptimize(engine::run(grid(streams, tasks / streams)).total);
  state.SetItemsProcessed(state.iterations() * tasks);
}
BENCHMARK(engine_build_and_run)->Arg(256)->Unit(benchmark::kMillisecond);

constexpr schedule::StageTimes kMadeUp{{50}, {110}, {30}};

std::int64_t verbs_of(const schedule::Schedule& schedule) {
  std::int64_t verbs = 0;
  for (const std::vector<schedule::Op>& list : schedule.order) verbs += static_cast<std::int64_t>(list.size());
  return verbs;
}

void execute_dualpipe_pp16_m120(benchmark::State& state) {
  const schedule::Schedule built = schedule::build("dualpipe", {.ranks = 16, .micro_batches = 120});
  const schedule::Costs costs = schedule::uniform_costs(kMadeUp, {145});
  for (auto _ : state) benchmark::DoNotOptimize(schedule::execute(built, costs).total);
  state.SetItemsProcessed(state.iterations() * verbs_of(built));
}
BENCHMARK(execute_dualpipe_pp16_m120)->Unit(benchmark::kMicrosecond);

// Lists and execution together, with transfers over links, against the number of micro-batches on 16 ranks.
void build_and_execute(benchmark::State& state, const char* kind) {
  const schedule::BuildParams params{.ranks = 16, .micro_batches = static_cast<int>(state.range(0))};
  const schedule::Costs costs = schedule::uniform_costs(kMadeUp, {145}, {0.01}, {1});
  std::int64_t verbs = 0;
  for (auto _ : state) {
    const schedule::Schedule built = schedule::build_uniform(kind, params, kMadeUp);
    benchmark::DoNotOptimize(schedule::execute(built, costs).total);
    verbs += verbs_of(built);
  }
  state.SetItemsProcessed(verbs);
  state.SetComplexityN(state.range(0));
}
void micro_batches(benchmark::internal::Benchmark* bench) {
  bench->Arg(120)->Arg(480)->Arg(1920)->Arg(7680)->Unit(benchmark::kMillisecond)->Complexity(benchmark::oN);
}
BENCHMARK_CAPTURE(build_and_execute, 1f1b, "1f1b")->Apply(micro_batches);
BENCHMARK_CAPTURE(build_and_execute, dualpipe, "dualpipe")->Apply(micro_batches);

void build_zb_h1_pp16_m120(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(schedule::build_uniform("zb-h1", {.ranks = 16, .micro_batches = 120}, kMadeUp));
}
BENCHMARK(build_zb_h1_pp16_m120)->Unit(benchmark::kMillisecond);

void build_zb_v_pp16_m120(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(schedule::build_uniform("zb-v", {.ranks = 16, .micro_batches = 120}, kMadeUp));
}
BENCHMARK(build_zb_v_pp16_m120)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lastbit::sim
