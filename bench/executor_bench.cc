// What the executor's checks cost: kernels beside the same loops as plain host code. The ratio of each pair is
// what docs/kernels.md quotes.
#include <benchmark/benchmark.h>

#include <vector>

#include "executor_kernels.h"
#include "kernels/simt/device_array.h"

namespace lastbit::bench {
namespace {

void plain_multiply(const float* a, const float* b, float* d, int n) {
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int k = 0; k < n; ++k) sum += a[i * n + k] * b[j * n + k];
      d[i * n + j] = sum;
    }
}
void plain_add(const float* a, const float* b, float* d, int n) {
  for (int i = 0; i < n; ++i) d[i] = a[i] + b[i];
}
void plain_sum(const float* a, const float* /*b*/, float* d, int n) {
  for (int i = 0; i < n; i += 32) {
    float lanes[32];
    for (int j = 0; j < 32; ++j) lanes[j] = a[i + j];
    for (int step = 16; step > 0; step /= 2)
      for (int j = 0; j < step; ++j) lanes[j] += lanes[j + step];
    d[i / 32] = lanes[0];
  }
}

using Run = void (*)(const float*, const float*, float*, int);

void on_executor(benchmark::State& state, Run run, int n, std::size_t count) {
  const std::vector<float> x(count, 1.5F);
  const simt::DeviceArray<float> a("a", std::span<const float>(x));
  const simt::DeviceArray<float> b("b", std::span<const float>(x));
  const simt::DeviceArray<float> d("d", count);
  for (auto _ : state) run(a.data(), b.data(), d.data(), n);
}

void as_plain_code(benchmark::State& state, Run run, int n, std::size_t count) {
  const std::vector<float> a(count, 1.5F);
  const std::vector<float> b(count, 1.5F);
  std::vector<float> d(count);
  for (auto _ : state) {
    run(a.data(), b.data(), d.data(), n);
    benchmark::ClobberMemory();
  }
}

constexpr int kSide = 128;
constexpr int kCount = 1 << 18;

BENCHMARK_CAPTURE(as_plain_code, multiply, plain_multiply, kSide, kSide* kSide)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(on_executor, multiply, run_multiply, kSide, kSide* kSide)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(as_plain_code, add, plain_add, kCount, kCount)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(on_executor, add, run_add, kCount, kCount)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(as_plain_code, sum, plain_sum, kCount, kCount)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(on_executor, sum, run_sum, kCount, kCount)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace lastbit::bench

BENCHMARK_MAIN();
