// What the executor and its checks cost: kernels beside the same kernels unchecked and the same work as plain loops.
// docs/kernels.md quotes the ratios.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "executor_kernels.h"
#include "kernels/quantize/quantize.h"
#include "kernels/simt/device_array.h"
#include "numerics/format.h"

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

constexpr int kBlocks = 256;  // rows
constexpr int kBlock = 128;

// One scale for each 128 values, as quantize_1x128 at its defaults.
void plain_quantize(const float* a, const float* /*b*/, float* d, int n) {
  const numerics::EncodeOptions options = numerics::default_encode_options(numerics::Format::kE4M3);
  auto* const codes = reinterpret_cast<std::uint8_t*>(d);
  for (int begin = 0; begin < n; begin += kBlock) {
    float amax = 0;
    for (int i = begin; i < begin + kBlock; ++i) amax = std::max(amax, std::abs(a[i]));
    const float scale = amax == 0 ? 1 : amax / 448;
    d[n / 4 + begin / kBlock] = scale;
    for (int i = begin; i < begin + kBlock; ++i)
      codes[i] = static_cast<std::uint8_t>(numerics::encode(a[i] / scale, numerics::Format::kE4M3, options));
  }
}

template <kernels::Version kVersion>
void run_quantize(const float* a, const float* /*b*/, float* d, int n) {
  kernels::quantize_1x128({a, false, kBlocks, n / kBlocks}, {}, reinterpret_cast<std::uint8_t*>(d), d + n / 4,
                          kVersion);
}

void register_all() {
  const auto add = [](const std::string& name, auto* function, Run run, int n, std::size_t count) {
    benchmark::RegisterBenchmark(name.c_str(), function, run, n, count)->Unit(benchmark::kMicrosecond);
  };
  const auto add_three = [&](const std::string& name, Run plain, Run unchecked_run, Run checked_run, int n,
                             std::size_t count) {
    add(name + "/plain", as_plain_code, plain, n, count);
    add(name + "/executor_unchecked", on_executor, unchecked_run, n, count);
    add(name + "/executor", on_executor, checked_run, n, count);
  };
  add_three("multiply", plain_multiply, unchecked::run_multiply, checked::run_multiply, kSide, kSide * kSide);
  add_three("add", plain_add, unchecked::run_add, checked::run_add, kCount, kCount);
  add_three("sum", plain_sum, unchecked::run_sum, checked::run_sum, kCount, kCount);
  add("quantize/plain", as_plain_code, plain_quantize, kCount, kCount);
  add("quantize/executor_v0", on_executor, run_quantize<kernels::Version::kObvious>, kCount, kCount);
  add("quantize/executor_tuned", on_executor, run_quantize<kernels::Version::kTuned>, kCount, kCount);
}

}  // namespace
}  // namespace lastbit::bench

int main(int argc, char** argv) {
  lastbit::bench::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
