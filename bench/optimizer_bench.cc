// Bytes a second of the optimiser's passes over memory, beside memcpy in the same run. LASTBIT_THREADS (default 1) is
// the number of threads, memcpy's too.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/normal.h"
#include "train/adamw.h"
#include "train/gradient_clip.h"

namespace lastbit::train {
namespace {

constexpr std::size_t kElements = 16 << 20;  // beyond any cache

void use_threads() {
  const char* text = std::getenv("LASTBIT_THREADS");
  core::set_num_threads(text == nullptr ? 1 : std::atoi(text));
}

const std::vector<float>& gradients() {
  static const std::vector<float> values = [] {
    std::vector<float> drawn(kElements);
    numerics::fill_normal(core::RandomStream(1, "optimizer bench"), 1.0, drawn);
    return drawn;
  }();
  return values;
}

void count(benchmark::State& state, std::size_t bytes_an_element) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kElements * bytes_an_element));
}

void copy(benchmark::State& state) {
  use_threads();
  std::vector<float> to(kElements);
  for (auto _ : state) {
    core::parallel_for(kElements, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to.data() + begin, gradients().data() + begin, static_cast<std::size_t>(end - begin) * sizeof(float));
    });
    benchmark::ClobberMemory();
  }
  count(state, 2 * sizeof(float));
}

// Reads weights, gradients and moments, writes all but the gradients.
template <typename Moment>
void adamw(benchmark::State& state) {
  use_threads();
  std::vector<float> weights(kElements, 1.0F);
  std::vector<Moment> first(kElements);
  std::vector<Moment> second(kElements);
  std::int64_t step = 0;
  for (auto _ : state)
    adamw_step(std::span(weights), gradients(), std::span(first), std::span(second), {}, {++step, 1e-4});
  count(state, 3 * sizeof(float) + 4 * sizeof(Moment));
}

void norm(benchmark::State& state) {
  use_threads();
  const std::vector<std::span<const float>> arrays{gradients()};
  for (auto _ : state) benchmark::DoNotOptimize(gradient_norm<float>(arrays));
  count(state, sizeof(float));
}

BENCHMARK(copy)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(adamw<std::uint16_t>)->Unit(benchmark::kMillisecond)->UseRealTime()->Name("adamw_bf16_moments");
BENCHMARK(adamw<float>)->Unit(benchmark::kMillisecond)->UseRealTime()->Name("adamw_fp32_moments");
BENCHMARK(norm)->Unit(benchmark::kMillisecond)->UseRealTime()->Name("gradient_norm");

}  // namespace
}  // namespace lastbit::train
