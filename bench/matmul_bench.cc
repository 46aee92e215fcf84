// Multiply-adds a second of matmul() beside OpenBLAS's SGEMM, the elementary functions of arrays, and sums, in the same
// run. LASTBIT_THREADS (default 1) is the number of threads; LASTBIT_TARGET (AVX2, ...) forces an instruction set, to
// go with OPENBLAS_CORETYPE. Batches run over 64 matrices of weights, 32 MiB of them, so that none is in a cache twice.
#include <benchmark/benchmark.h>
#include <cblas.h>

#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/elementary.h"
#include "numerics/elementary_array.h"
#include "numerics/matmul.h"
#include "numerics/reduce.h"
#include "numerics/vector_target.h"

namespace lastbit::numerics {
namespace {

constexpr std::int64_t kBatch = 64;

int threads() {
  const char* text = std::getenv("LASTBIT_THREADS");
  return text == nullptr ? 1 : std::atoi(text);
}

void set_up(benchmark::State& state) {
  core::set_num_threads(threads());
  openblas_set_num_threads(threads());
  const char* target = std::getenv("LASTBIT_TARGET");
  use_vector_target(target == nullptr ? "" : target);
  state.SetLabel(vector_target());
}

template <typename T>
std::vector<T> random_values(std::int64_t count, const char* purpose) {
  const core::RandomStream stream(1, purpose);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(stream.uniform(i) - 0.5F);
  return values;
}

// The three products of a layer y [M, N] = x [M, K] W [N, K]^T, in its own names: M rows, N outputs, K inputs.
enum class Role { kForward, kInputGradient, kWeightGradient };

struct Layer {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
};

Layer layer_of(const benchmark::State& state) { return {state.range(0), state.range(1), state.range(2)}; }

void count(benchmark::State& state, const Layer& layer, std::int64_t batch) {
  state.counters["MAC/s"] = benchmark::Counter(static_cast<double>(batch * layer.m * layer.n * layer.k),
                                               benchmark::Counter::kIsIterationInvariantRate);
}

template <typename T>
void run_roles(benchmark::State& state, Role role, std::int64_t batch) {
  set_up(state);
  const Layer layer = layer_of(state);
  const auto [m, n, k] = layer;
  std::vector<T> x = random_values<T>(batch * m * k, "x");
  std::vector<T> y = random_values<T>(batch * m * n, "y");
  std::vector<T> w = random_values<T>(batch * n * k, "w");
  std::vector<MatmulProblem<T>> problems;
  for (std::int64_t i = 0; i < batch; ++i) {
    T* xi = x.data() + i * m * k;
    T* yi = y.data() + i * m * n;
    T* wi = w.data() + i * n * k;
    if (role == Role::kForward) problems.push_back({{xi, m, k, k}, {wi, k, n, k, true}, yi, n});
    if (role == Role::kInputGradient) problems.push_back({{yi, m, n, n}, {wi, n, k, k}, xi, k});
    if (role == Role::kWeightGradient) problems.push_back({{yi, n, m, n, true}, {xi, m, k, k}, wi, k, true});
  }
  for (auto _ : state) {
    matmul_batch(problems);
    benchmark::ClobberMemory();
  }
  count(state, layer, batch);
}

void forward(benchmark::State& state) { run_roles<float>(state, Role::kForward, 1); }
void input_gradient(benchmark::State& state) { run_roles<float>(state, Role::kInputGradient, 1); }
void weight_gradient(benchmark::State& state) { run_roles<float>(state, Role::kWeightGradient, 1); }
void forward_f64(benchmark::State& state) { run_roles<double>(state, Role::kForward, 1); }
void forward_batch(benchmark::State& state) { run_roles<float>(state, Role::kForward, kBatch); }
void input_gradient_batch(benchmark::State& state) { run_roles<float>(state, Role::kInputGradient, kBatch); }
void weight_gradient_batch(benchmark::State& state) { run_roles<float>(state, Role::kWeightGradient, kBatch); }

void run_openblas(benchmark::State& state, std::int64_t batch) {
  set_up(state);
  const Layer layer = layer_of(state);
  const auto [m, n, k] = layer;
  const std::vector<float> x = random_values<float>(batch * m * k, "x");
  const std::vector<float> w = random_values<float>(batch * n * k, "w");
  std::vector<float> y(static_cast<std::size_t>(batch * m * n));
  const auto rows = static_cast<blasint>(m);
  const auto outputs = static_cast<blasint>(n);
  const auto inputs = static_cast<blasint>(k);
  for (auto _ : state) {
    for (std::int64_t i = 0; i < batch; ++i)
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, outputs, inputs, 1, x.data() + i * m * k, inputs,
                  w.data() + i * n * k, inputs, 0, y.data() + i * m * n, outputs);
    benchmark::ClobberMemory();
  }
  count(state, layer, batch);
}

void openblas(benchmark::State& state) { run_openblas(state, 1); }
void openblas_batch(benchmark::State& state) { run_openblas(state, kBatch); }

// A token at a time, on weights that no cache holds: bytes of weights a second, beside those of a plain sum over them.
void decode(benchmark::State& state) {
  run_roles<float>(state, Role::kForward, 1);
  state.SetBytesProcessed(state.iterations() * state.range(1) * state.range(2) * 4);
}
void decode_transposed(benchmark::State& state) {
  run_roles<float>(state, Role::kInputGradient, 1);
  state.SetBytesProcessed(state.iterations() * state.range(1) * state.range(2) * 4);
}
void read_memory(benchmark::State& state) {
  const std::vector<float> x = random_values<float>(state.range(0), "x");
  for (auto _ : state) {
    std::int64_t sum = 0;
    const auto* words = reinterpret_cast<const std::int32_t*>(x.data());
    for (std::size_t i = 0; i < x.size(); i += 16) sum += words[i];
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * 4);
}

// Elements a second, in arrays that fit the first-level cache.
using ArrayFunction = void (*)(std::span<const float>, std::span<float>);
using SumFunction = float (*)(const float*, std::int64_t);

constexpr std::int64_t kShort = 2048;

void array_function(benchmark::State& state, ArrayFunction function) {
  set_up(state);
  const std::vector<float> x = random_values<float>(kShort, "x");
  std::vector<float> y(x.size());
  for (auto _ : state) {
    function(x, y);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kShort);
}
void scalar_exp(benchmark::State& state) {
  const std::vector<float> x = random_values<float>(kShort, "x");
  std::vector<float> y(x.size());
  for (auto _ : state) {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = exp(x[i]);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kShort);
}
void reduction(benchmark::State& state, SumFunction function) {
  const std::vector<float> x = random_values<float>(kShort, "x");
  for (auto _ : state) benchmark::DoNotOptimize(function(x.data(), kShort));
  state.SetItemsProcessed(state.iterations() * kShort);
}

void squares(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "N", "K"})->Unit(benchmark::kMillisecond);
  bench->Args({1024, 1024, 1024});
}
// The gate, up and down projections of small experts.
void experts(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "N", "K"})->Unit(benchmark::kMillisecond);
  for (const std::int64_t m : {48, 96}) bench->Args({m, 256, 512})->Args({m, 512, 256});
}
void experts_and_long(benchmark::internal::Benchmark* bench) {
  experts(bench);
  bench->Args({1024, 256, 512})->Args({1024, 512, 256});
}
void single_rows(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "N", "K"})->Unit(benchmark::kMillisecond);
  bench->Args({1, 4096, 7168})->Args({2, 4096, 7168})->Args({4, 4096, 7168});
}

BENCHMARK(openblas)->Apply(squares);
BENCHMARK(openblas_batch)->Apply(experts);
BENCHMARK(forward)->Apply(squares);
BENCHMARK(input_gradient)->Apply(squares);
BENCHMARK(weight_gradient)->Apply(squares);
BENCHMARK(forward_f64)->Apply(squares);
BENCHMARK(forward_batch)->Apply(experts);
BENCHMARK(input_gradient_batch)->Apply(experts);
BENCHMARK(weight_gradient_batch)->Apply(experts_and_long);
BENCHMARK(decode)->Apply(single_rows);
BENCHMARK(decode_transposed)->Apply(single_rows);
BENCHMARK(read_memory)->Arg(4096 * 7168)->Unit(benchmark::kMillisecond);

BENCHMARK(scalar_exp);
BENCHMARK_CAPTURE(array_function, exp, exp);
BENCHMARK_CAPTURE(array_function, sigmoid, sigmoid);
BENCHMARK_CAPTURE(array_function, silu, silu);
BENCHMARK_CAPTURE(reduction, sum, sum);
BENCHMARK_CAPTURE(reduction, sum_of_squares, sum_of_squares);

}  // namespace
}  // namespace lastbit::numerics
