// Bytes of FP32 input a second of the quantisers, beside memcpy of the same matrix in the same run. LASTBIT_THREADS
// (default 1) is the number of threads of the quantisers.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/normal.h"
#include "numerics/quantize_nvfp4.h"

namespace lastbit::numerics {
namespace {

constexpr std::int64_t kRows = 4096;
constexpr std::int64_t kCols = 7168;

const std::vector<float>& values() {
  static const std::vector<float> matrix = [] {
    std::vector<float> drawn(kRows * kCols);
    fill_normal(core::RandomStream(1, "quantize bench"), 1.0, drawn);
    return drawn;
  }();
  return matrix;
}

void count(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * kRows * kCols * static_cast<std::int64_t>(sizeof(float)));
}

void copy(benchmark::State& state) {
  std::vector<float> to(values().size());
  for (auto _ : state) {
    std::memcpy(to.data(), values().data(), to.size() * sizeof(float));
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  count(state);
}

void quantizer(benchmark::State& state, ScaleTile tile, QuantizeMethod method, bool transpose) {
  const char* text = std::getenv("LASTBIT_THREADS");
  core::set_num_threads(text == nullptr ? 1 : std::atoi(text));
  QuantizeRule rule;
  rule.tile = tile;
  rule.method = method;
  const FloatMatrix matrix{values(), kRows, kCols};
  for (auto _ : state) {
    Quantized quantized = transpose ? quantize_transposed(matrix, rule, "") : quantize(matrix, rule, "");
    benchmark::DoNotOptimize(quantized.codes.data());
  }
  count(state);
}

constexpr QuantizeMethod kDivision = QuantizeMethod::kDivision;
constexpr QuantizeMethod kReciprocal = QuantizeMethod::kReciprocal;

void nvfp4(benchmark::State& state) {
  const std::vector<float>& x = values();
  for (auto _ : state) {
    const QuantizedNvfp4 quantized = quantize_nvfp4({x, kRows, kCols}, "x");
    benchmark::DoNotOptimize(quantized.codes.data());
  }
  count(state);
}

BENCHMARK(copy)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(quantizer, rows_1x128_division, ScaleTile{1, 128}, kDivision, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(quantizer, rows_1x128_reciprocal, ScaleTile{1, 128}, kReciprocal, false)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(quantizer, blocks_128x128, ScaleTile{128, 128}, kDivision, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(quantizer, columns_128x1, ScaleTile{128, 1}, kDivision, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(quantizer, mx_1x32, ScaleTile{1, 32}, kDivision, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(quantizer, tensor, ScaleTile{kRows, kCols}, kDivision, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(quantizer, transposed_1x128, ScaleTile{1, 128}, kDivision, true)->Unit(benchmark::kMillisecond);
BENCHMARK(nvfp4)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lastbit::numerics
