// Useful multiply-adds a second of the attention core (causal pairs alone), beside the arithmetic bound: OpenBLAS's
// FP32 SGEMM of 512^3 in the same run. LASTBIT_THREADS (default 1) is the number of threads of both.
#include <benchmark/benchmark.h>
#include <cblas.h>

#include <cmath>
#include <cstdlib>
#include <vector>

#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/matmul.h"
#include "ops/attention_core.h"
#include "ops/cost.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

int threads() {
  const char* text = std::getenv("LASTBIT_THREADS");
  return text == nullptr ? 1 : std::atoi(text);
}

Tensor random_tensor(const char* purpose, const tensor::Shape& shape) {
  const core::RandomStream stream(1, purpose);
  Tensor result = Tensor::empty(tensor::DType::kF32, shape);
  std::uint64_t i = 0;
  for (float& x : result.mutable_values<float>()) x = 2 * stream.uniform(i++) - 1;
  return result;
}

void count(benchmark::State& state, double flops) {
  state.counters["MAC/s"] = benchmark::Counter(flops / 2, benchmark::Counter::kIsIterationInvariantRate);
}

constexpr std::int64_t kSquare = 512;

void openblas_sgemm(benchmark::State& state) {
  openblas_set_num_threads(threads());
  const Tensor a = random_tensor("a", {kSquare, kSquare});
  const Tensor b = random_tensor("b", {kSquare, kSquare});
  std::vector<float> d(kSquare * kSquare);
  const auto n = static_cast<blasint>(kSquare);
  for (auto _ : state) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a.values<float>().data(), n,
                b.values<float>().data(), n, 0, d.data(), n);
    benchmark::DoNotOptimize(d.data());
  }
  count(state, matmul_cost(kSquare, kSquare, kSquare, 4, 4, 4).flops);
}

void lastbit_matmul(benchmark::State& state) {
  core::set_num_threads(threads());
  const Tensor a = random_tensor("a", {kSquare, kSquare});
  const Tensor b = random_tensor("b", {kSquare, kSquare});
  std::vector<float> d(kSquare * kSquare);
  for (auto _ : state) {
    numerics::matmul({{a.values<float>().data(), kSquare, kSquare, kSquare},
                      {b.values<float>().data(), kSquare, kSquare, kSquare},
                      d.data(),
                      kSquare});
    benchmark::DoNotOptimize(d.data());
  }
  count(state, matmul_cost(kSquare, kSquare, kSquare, 4, 4, 4).flops);
}

struct Operands {
  explicit Operands(const benchmark::State& state)
      : q(random_tensor("q", {1, state.range(0), state.range(1), state.range(3)})),
        k(random_tensor("k", {1, state.range(0), state.range(2), state.range(3)})),
        v(random_tensor("v", {1, state.range(0), state.range(2), state.range(4)})),
        dout(random_tensor("dout", {1, state.range(0), state.range(1), state.range(4)})),
        scale(1 / std::sqrt(static_cast<double>(state.range(3)))) {
    core::set_num_threads(threads());
  }

  Tensor q;
  Tensor k;
  Tensor v;
  Tensor dout;
  double scale;
};

void forward(benchmark::State& state) {
  const Operands in(state);
  for (auto _ : state) benchmark::DoNotOptimize(attention_core(in.q, in.k, in.v, in.scale));
  count(state, attention_core_cost(static_cast<double>(state.range(0)), static_cast<double>(state.range(1)),
                                   static_cast<double>(state.range(3)), static_cast<double>(state.range(4)), true, 4)
                   .flops);
}

void backward(benchmark::State& state) {
  const Operands in(state);
  const AttentionResult result = attention_core(in.q, in.k, in.v, in.scale);
  for (auto _ : state) benchmark::DoNotOptimize(attention_core_backward(in.dout, in.q, in.k, in.v, result, in.scale));
  count(state,
        attention_core_backward_cost(static_cast<double>(state.range(0)), static_cast<double>(state.range(1)),
                                     static_cast<double>(state.range(3)), static_cast<double>(state.range(4)), true, 4)
            .flops);
}

// A small model's layer, DeepSeek-V2-Lite's at 4K expanded, and a latent one (absorbed) of four heads.
void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "heads", "kv", "qk", "v"})->Unit(benchmark::kMillisecond);
  bench->Args({512, 8, 8, 96, 64})->Args({4096, 16, 16, 192, 128})->Args({1024, 4, 1, 576, 512});
}

BENCHMARK(openblas_sgemm)->Unit(benchmark::kMillisecond);
BENCHMARK(lastbit_matmul)->Unit(benchmark::kMillisecond);
BENCHMARK(forward)->Apply(shapes);
BENCHMARK(backward)->Apply(shapes);

}  // namespace
}  // namespace lastbit::ops
