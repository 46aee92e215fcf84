#include "kernels/simt/cuda.h"
#include "simt/broken_kernels.h"

namespace lastbit::broken {
namespace {

using simt::FindingKind;

template <bool kBroken>
__global__ void sum_of_blocks(const float* in, float* out, int /*n*/) {
  const float value = in[blockIdx.x * blockDim.x + threadIdx.x];  // whole numbers: any order gives the same sum
  if constexpr (kBroken)
    out[0] += value;
  else
    atomicAdd(&out[0], value);
}

template <bool kBroken>
__global__ void histogram(const float* in, float* out, int /*n*/) {
  __shared__ int counts[8];
  const int i = static_cast<int>(threadIdx.x);
  if (i < 8) counts[i] = 0;
  __syncthreads();
  const int bin = static_cast<int>(in[i]) % 8;
  if constexpr (kBroken)
    counts[bin] += 1;
  else
    atomicAdd(&counts[bin], 1);
  __syncthreads();
  if (i < 8) out[i] = static_cast<float>(counts[i]);
}

template <bool kBroken>
__global__ void histogram_from_nothing(const float* in, float* out, int /*n*/) {
  __shared__ int counts[8];
  const int i = static_cast<int>(threadIdx.x);
  if constexpr (!kBroken) {
    if (i < 8) counts[i] = 0;
    __syncthreads();
  }
  atomicAdd(&counts[static_cast<int>(in[i]) % 8], 1);
  __syncthreads();
  if (i < 8) out[i] = static_cast<float>(counts[i]);
}

template <bool kBroken>
__global__ void tree_without_barriers(const float* in, float* out, int /*n*/) {
  __shared__ float sums[128];
  const int i = static_cast<int>(threadIdx.x);
  sums[i] = in[i];
  __syncthreads();
  for (int step = 64; step > 0; step /= 2) {
    if (i < step) sums[i] += sums[i + step];
    if (!kBroken || step == 64) __syncthreads();
  }
  __syncthreads();
  if (i == 0) out[0] = sums[0];
}

// 1/1 + 1/2 + ... in FP32, added in whatever order the threads come.
template <bool kBroken>
__global__ void order_of_atomics(const float* in, float* out, int /*n*/) {
  const int i = static_cast<int>(threadIdx.x);
  if constexpr (kBroken) {
    atomicAdd(&out[0], 1 / (in[i] + 1));
  } else if (i == 0) {
    float sum = 0;
    for (int j = 0; j < 128; ++j) sum += 1 / (in[j] + 1);
    out[0] = sum;
  }
}

template <bool kBroken>
__global__ void neighbours_in_place(const float* /*in*/, float* out, int n) {
  __shared__ float before[128];
  const int i = static_cast<int>(threadIdx.x);
  out[i] = static_cast<float>(i);
  __syncthreads();
  before[i] = out[i];
  __syncthreads();
  const int next = (i + 1) % n;
  out[i] += kBroken ? out[next] : before[next];
}

}  // namespace

std::vector<BrokenKernel> broken_reductions() {
  std::vector<float> harmonic(1);
  for (int i = 0; i < 128; ++i) harmonic[0] += 1 / (static_cast<float>(i) + 1);
  std::vector<float> sums;
  for (int i = 0; i < 128; ++i) sums.push_back(static_cast<float>(i + (i + 1) % 128));
  return {
      plain_case("sum_of_blocks", "out += by many blocks", FindingKind::kRace, {4, 32, 128, 1}, sum_of_blocks<true>,
                 sum_of_blocks<false>, {8128}),
      plain_case("histogram", "counts raised without atomics", FindingKind::kRace, {1, 128, 128, 8}, histogram<true>,
                 histogram<false>, std::vector<float>(8, 16)),
      plain_case("histogram_from_nothing", "counts that nobody set to zero", FindingKind::kUninitialised,
                 {1, 128, 128, 8}, histogram_from_nothing<true>, histogram_from_nothing<false>,
                 std::vector<float>(8, 16)),
      plain_case("tree_without_barriers", "a tree of sums with a barrier at its first level alone", FindingKind::kRace,
                 {1, 128, 128, 1}, tree_without_barriers<true>, tree_without_barriers<false>, {8128}),
      plain_case("order_of_atomics", "floats added by atomics: bits of the order", FindingKind::kOrder,
                 {1, 128, 128, 1}, order_of_atomics<true>, order_of_atomics<false>, harmonic),
      plain_case("neighbours_in_place", "reads of what neighbours overwrite", FindingKind::kRace, {},
                 neighbours_in_place<true>, neighbours_in_place<false>, sums),
  };
}

}  // namespace lastbit::broken
