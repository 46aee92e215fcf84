// Multiply-accumulates a second of the tensor-core GEMM, one thread.
#include <benchmark/benchmark.h>

#include <vector>

#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/gemm.h"
#include "numerics/units.h"

namespace lastbit::numerics {
namespace {

// Codes of N(0, 1)-like numbers (the sum of four uniform ones), [rows, cols].
std::vector<std::byte> random_codes(Format format, std::int64_t rows, std::int64_t cols, const char* purpose) {
  const core::RandomStream stream(1, purpose);
  const int width = describe(format).storage_bytes;
  std::vector<std::byte> bytes;
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    const auto at = static_cast<std::uint64_t>(4 * i);
    float sum = -2.0F;
    for (std::uint64_t part = 0; part < 4; ++part) sum += stream.uniform(at + part);
    const std::uint32_t code = encode(sum * 1.732F, format, default_encode_options(format));
    for (int byte = 0; byte < width; ++byte) bytes.push_back(static_cast<std::byte>(code >> (8 * byte) & 0xff));
  }
  return bytes;
}

void run(benchmark::State& state, const char* unit, Format format, Promotion promotion) {
  core::set_num_threads(1);
  constexpr std::int64_t kSize = 128;
  constexpr std::int64_t kInner = 1024;
  const MmaRule rule = rule_of(find_unit(unit), format, format, Format::kF32);
  const std::vector<std::byte> a = random_codes(format, kSize, kInner, "a");
  const std::vector<std::byte> b = random_codes(format, kSize, kInner, "b");
  const GemmOperands operands{{format, kSize, kInner, a}, {format, kSize, kInner, b}, {}, {}};
  std::vector<float> d(kSize * kSize);
  for (auto _ : state) {
    gemm(rule, operands, promotion, d);
    benchmark::DoNotOptimize(d.data());
  }
  state.counters["MAC/s"] =
      benchmark::Counter(static_cast<double>(kSize * kSize * kInner), benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK_CAPTURE(run, hopper_e4m3_chained, "hopper_wgmma", Format::kE4M3, Promotion{});
BENCHMARK_CAPTURE(run, hopper_e4m3_promoted, "hopper_wgmma", Format::kE4M3, Promotion{PromotionOrder::kDeepgemm, 128});
BENCHMARK_CAPTURE(run, hopper_bf16, "hopper_wgmma", Format::kBF16, Promotion{});
BENCHMARK_CAPTURE(run, hopper_tf32, "hopper_wgmma", Format::kTF32, Promotion{});
BENCHMARK_CAPTURE(run, tcgen05_e4m3, "blackwell_tcgen05", Format::kE4M3, Promotion{});
BENCHMARK_CAPTURE(run, cdna3_fp8, "amd_cdna3_mfma", Format::kE4M3Fnuz, Promotion{});
BENCHMARK_CAPTURE(run, b200_mma_sync_e4m3, "b200_mma_sync", Format::kE4M3, Promotion{});

}  // namespace
}  // namespace lastbit::numerics
