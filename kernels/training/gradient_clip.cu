#include "kernels/numbers/block_sum.h"
#include "kernels/numbers/elements.h"
#include "kernels/numbers/lane_sum.h"
#include "kernels/training/gradient_clip.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 256;

__device__ double square(float x) { return static_cast<double>(x) * static_cast<double>(x); }

// v0: one thread a range.
__global__ void sum_squares_v0(const float* x, std::size_t count, double* sums) {
  const std::size_t range = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::size_t begin = range * kNormRange;
  if (begin >= count) return;
  LaneSum<double> sum = {};
  for (std::size_t i = begin; i < count && i < begin + kNormRange; ++i) sum.add(i - begin, square(x[i]));
  sums[range] = sum.total();
}

// One block a range.
__global__ void __launch_bounds__(kThreads) sum_squares_ranges(const float* x, std::size_t count, double* sums) {
  __shared__ double space[kThreads / 32];
  const std::size_t begin = blockIdx.x * kNormRange;
  const std::size_t end = count < begin + kNormRange ? count : begin + kNormRange;
  double sum = 0;
  for (std::size_t i = begin + threadIdx.x; i < end; i += kThreads) sum += square(x[i]);
  sum = block_sum<kThreads>(sum, space);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void clip_factor_thread(const double* sums, std::size_t ranges, double max_norm, double* norm,
                                   float* factor) {
  double total = 0;
  for (std::size_t i = 0; i < ranges; ++i) total += sums[i];
  *norm = sqrt(total);
  const double ratio = max_norm / (*norm + 1e-6);
  *factor = ratio >= 1 ? 1.0F : static_cast<float>(ratio);
}

struct ScaleValues {
  static constexpr int kEach = kVectorValues<float>;
  float* x;
  const float* factor;

  __device__ void one(std::size_t i) const { x[i] *= *factor; }
  __device__ void vector(std::size_t i) const {
    float values[kEach];
    load_vector(x + i, values);
#pragma unroll
    for (int j = 0; j < kEach; ++j) values[j] *= *factor;
    store_vector(x + i, values);
  }
};

}  // namespace

void sum_squares(const float* x, std::size_t count, double* sums, Version version) {
  const auto ranges = static_cast<unsigned>((count + kNormRange - 1) / kNormRange);
  if (version == Version::kObvious)
    simt::launch({"sum_squares", dim3{(ranges + 31) / 32, 1, 1}, dim3{32, 1, 1}}, sum_squares_v0, x, count, sums);
  else
    simt::launch({"sum_squares", dim3{ranges, 1, 1}, dim3{kThreads, 1, 1}}, sum_squares_ranges, x, count, sums);
}

void clip_factor(const double* sums, std::size_t ranges, double max_norm, double* norm, float* factor) {
  simt::launch({"clip_factor", dim3{1, 1, 1}, dim3{1, 1, 1}}, clip_factor_thread, sums, ranges, max_norm, norm, factor);
}

void scale_values(float* x, std::size_t count, const float* factor, Version version) {
  launch_elements("scale_values", ScaleValues{x, factor}, count, version);
}

}  // namespace lastbit::kernels
