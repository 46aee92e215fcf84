// Emulated multiply-accumulates a second of the tensor-core GEMM, packing, scales and promotion included, beside
// OpenBLAS's and Eigen's FP32 SGEMM of the same shape in the same run. LASTBIT_THREADS (default 1; "1,2": both) is the
// number of threads of all three; LASTBIT_TARGET (AVX2, ...) forces an instruction set, to go with OPENBLAS_CORETYPE.
// "memory" is what a product allocates at most, as a share of its operands (scales left out).
#include <benchmark/benchmark.h>
#include <cblas.h>

#include <Eigen/Core>
#include <algorithm>
#include <cstdlib>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "allocations.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/gemm.h"
#include "numerics/units.h"
#include "numerics/vector_target.h"

namespace lastbit::numerics {
namespace {

std::vector<std::int64_t> thread_counts() {
  const char* text = std::getenv("LASTBIT_THREADS");
  std::istringstream numbers(text == nullptr ? "1" : text);
  std::vector<std::int64_t> counts;
  for (std::string number; std::getline(numbers, number, ',');)
    counts.push_back(std::max(1, std::atoi(number.c_str())));
  if (counts.empty()) counts.push_back(1);
  return counts;
}

int threads(const benchmark::State& state) { return static_cast<int>(state.range(3)); }

// Numbers like N(0, 1): sums of four uniform ones. Drawn once for all benchmarks: a shorter request takes the start.
const std::vector<float>& random_values(std::int64_t count, const char* purpose) {
  static std::map<std::string, std::vector<float>> drawn;
  const core::RandomStream stream(1, purpose);
  std::vector<float>& values = drawn[purpose];
  for (auto i = static_cast<std::int64_t>(values.size()); i < count; ++i) {
    float sum = -2.0F;
    for (std::uint64_t part = 0; part < 4; ++part) sum += stream.uniform(static_cast<std::uint64_t>(4 * i) + part);
    values.push_back(sum * 1.732F);
  }
  return values;
}

// Their codes, likewise.
std::span<const std::byte> codes_of(std::int64_t count, const char* purpose, Format format) {
  static std::map<std::pair<std::string, Format>, std::vector<std::byte>> encoded;
  const std::vector<float>& values = random_values(count, purpose);
  const auto width = static_cast<std::size_t>(describe(format).storage_bytes);
  const EncodeOptions options = default_encode_options(format);
  std::vector<std::byte>& bytes = encoded[{purpose, format}];
  for (std::size_t i = bytes.size() / width; i < values.size(); ++i) {
    const std::uint32_t code = encode(values[i], format, options);
    for (std::size_t byte = 0; byte < width; ++byte) bytes.push_back(static_cast<std::byte>(code >> (8 * byte) & 0xff));
  }
  return std::span<const std::byte>(bytes).first(static_cast<std::size_t>(count) * width);
}

struct Shape {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
};

Shape shape_of(const benchmark::State& state) { return {state.range(0), state.range(1), state.range(2)}; }

void count(benchmark::State& state, const Shape& shape) {
  state.counters["MAC/s"] = benchmark::Counter(static_cast<double>(shape.m * shape.n * shape.k),
                                               benchmark::Counter::kIsIterationInvariantRate);
}

void emulated(benchmark::State& state, const char* unit, Format format, Promotion promotion) {
  core::set_num_threads(threads(state));
  const char* target = std::getenv("LASTBIT_TARGET");
  use_vector_target(target == nullptr ? "" : target);
  state.SetLabel(vector_target());
  const Shape shape = shape_of(state);
  const MmaRule rule = rule_of(find_unit(unit), format, format, Format::kF32);
  const std::span<const std::byte> a = codes_of(shape.m * shape.k, "a", format);
  const std::span<const std::byte> b = codes_of(shape.n * shape.k, "b", format);
  GemmOperands operands{{format, shape.m, shape.k, a}, {format, shape.n, shape.k, b}, {}, {}};
  const ScaleShape shape_a = scale_shape(operands.a, operands.tile_a);
  const ScaleShape shape_b = scale_shape(operands.b, operands.tile_b);
  const std::vector<float> scale_a(static_cast<std::size_t>(shape_a.rows * shape_a.columns), 0.5F);
  const std::vector<float> scale_b(static_cast<std::size_t>(shape_b.rows * shape_b.columns), 0.25F);
  if (promotion.order != PromotionOrder::kNone) {
    operands.scale_a = scale_a;
    operands.scale_b = scale_b;
  }
  std::vector<float> d(static_cast<std::size_t>(shape.m * shape.n));
  const bench::PeakAllocation allocated;
  gemm(rule, operands, promotion, d);
  state.counters["memory"] = static_cast<double>(allocated.bytes()) / static_cast<double>(a.size() + b.size());
  for (auto _ : state) {
    gemm(rule, operands, promotion, d);
    benchmark::DoNotOptimize(d.data());
  }
  count(state, shape);
}

void openblas_sgemm(benchmark::State& state) {
  const Shape shape = shape_of(state);
  openblas_set_num_threads(threads(state));
  const std::vector<float>& a = random_values(shape.m * shape.k, "a");
  const std::vector<float>& b = random_values(shape.n * shape.k, "b");
  std::vector<float> d(static_cast<std::size_t>(shape.m * shape.n));
  const auto m = static_cast<blasint>(shape.m);
  const auto n = static_cast<blasint>(shape.n);
  const auto k = static_cast<blasint>(shape.k);
  for (auto _ : state) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, a.data(), k, b.data(), k, 0, d.data(), n);
    benchmark::DoNotOptimize(d.data());
  }
  count(state, shape);
}

void eigen_sgemm(benchmark::State& state) {
  const Shape shape = shape_of(state);
  Eigen::setNbThreads(threads(state));
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const std::vector<float>& a = random_values(shape.m * shape.k, "a");
  const std::vector<float>& b = random_values(shape.n * shape.k, "b");
  const Eigen::Map<const Matrix> left(a.data(), shape.m, shape.k);
  const Eigen::Map<const Matrix> right(b.data(), shape.n, shape.k);
  Matrix d(shape.m, shape.n);
  for (auto _ : state) {
    d.noalias() = left * right.transpose();
    benchmark::DoNotOptimize(d.data());
  }
  count(state, shape);
}

constexpr Promotion kChained{};
constexpr Promotion kPromoted{PromotionOrder::kDeepgemm, 128};

// Squares; then V3's shapes scaled in M: an expert's gate and up projection, its down projection, MLA's q_b and o.
void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "N", "K", "threads"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const std::int64_t threads : thread_counts()) {
    for (const std::int64_t size : {256, 1024, 4096}) bench->Args({size, size, size, threads});
    bench->Args({256, 4096, 7168, threads})->Args({256, 7168, 2048, threads});
    bench->Args({256, 24576, 1536, threads})->Args({256, 7168, 16384, threads});
  }
}

BENCHMARK(openblas_sgemm)->Apply(shapes);
BENCHMARK(eigen_sgemm)->Apply(shapes);
BENCHMARK_CAPTURE(emulated, fp8_promoted, "hopper_wgmma", Format::kE4M3, kPromoted)->Apply(shapes);
BENCHMARK_CAPTURE(emulated, fp8_chained, "hopper_wgmma", Format::kE4M3, kChained)->Apply(shapes);
BENCHMARK_CAPTURE(emulated, bf16, "hopper_wgmma", Format::kBF16, kChained)->Apply(shapes);
BENCHMARK_CAPTURE(emulated, f16, "hopper_wgmma", Format::kF16, kChained)->Apply(shapes);

}  // namespace
}  // namespace lastbit::numerics
