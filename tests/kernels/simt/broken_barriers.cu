#include <numeric>

#include "kernels/arch/barriers.h"
#include "kernels/simt/cuda.h"
#include "simt/broken_kernels.h"

namespace lastbit::broken {
namespace {

using simt::FindingKind;

template <bool kBroken>
__global__ void missing_barrier(const float* in, float* out, int n) {
  __shared__ float tile[128];
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = in[i];
  if constexpr (!kBroken) __syncthreads();
  out[i] = tile[n - 1 - i];
}

// Reverses each run of 128 elements; the tile is used again for the next.
template <bool kBroken>
__global__ void tile_used_again(const float* in, float* out, int n) {
  __shared__ float tile[128];
  const int i = static_cast<int>(threadIdx.x);
  for (int begin = 0; begin < n; begin += 128) {
    tile[i] = in[begin + i];
    __syncthreads();
    out[begin + i] = tile[127 - i];
    if constexpr (!kBroken) __syncthreads();
  }
}

template <bool kBroken>
__global__ void barrier_in_a_branch(const float* in, float* out, int n) {
  __shared__ float tile[128];
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = in[i];
  if (!kBroken || i < 64) __syncthreads();
  out[i] = i < 64 ? tile[n - 1 - i] : tile[i];
}

template <bool kBroken>
__global__ void returns_before_the_barrier(const float* in, float* out, int n) {
  __shared__ float tile[128];
  const int i = static_cast<int>(threadIdx.x);
  if (kBroken && i >= n) return;
  if (i < n) tile[i] = in[i];
  __syncthreads();
  if (i < n) out[i] = tile[n - 1 - i];
}

template <bool kBroken>
__global__ void two_barriers_for_one(const float* in, float* out, int n) {
  __shared__ float tile[128];
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = in[i];
  if constexpr (kBroken) {
    if (i < 64)
      __syncthreads();
    else
      __syncthreads();
  } else {
    __syncthreads();
  }
  out[i] = tile[n - 1 - i];
}

// The first two warps exchange their halves; the others have no part in it.
template <bool kBroken>
__global__ void named_barrier_of_too_many(const float* in, float* out, int /*n*/) {
  __shared__ float tile[64];
  const int i = static_cast<int>(threadIdx.x);
  if (i < 64) {
    tile[i] = in[i];
    arch::named_barrier(1, kBroken ? 96 : 64);
    out[i] = tile[63 - i];
  } else {
    out[i] = in[i];
  }
}

template <bool kBroken>
__global__ void never_written(const float* in, float* out, int n) {
  __shared__ float tile[132];
  const int i = static_cast<int>(threadIdx.x);
  if (!kBroken && i < 4) tile[128 + i] = 0;  // the padding
  tile[i] = in[i];
  __syncthreads();
  out[i] = tile[n - 1 - i + 4];
}

std::vector<float> reversed_runs(int n) {
  std::vector<float> x;
  for (int i = 0; i < n; ++i) x.push_back(static_cast<float>(i / 128 * 128 + 127 - i % 128));
  return x;
}

}  // namespace

std::vector<BrokenKernel> broken_barriers() {
  std::vector<float> halves = ramp(128);
  for (int i = 0; i < 64; ++i) halves[static_cast<std::size_t>(i)] = static_cast<float>(127 - i);
  std::vector<float> first_half = ramp(128);
  std::reverse(first_half.begin(), first_half.begin() + 64);
  std::vector<float> hundred = ramp(100);
  std::ranges::reverse(hundred);
  std::vector<float> padded = reversed_runs(128);
  for (float& value : padded) value += 4;
  for (std::size_t i = 0; i < 4; ++i) padded[i] = 0;
  return {
      plain_case("missing_barrier", "no barrier between a write and others' reads", FindingKind::kUninitialised, {},
                 missing_barrier<true>, missing_barrier<false>, reversed_runs(128)),
      plain_case("tile_used_again", "no barrier between reads and the next write", FindingKind::kRace,
                 {1, 128, 512, 512}, tile_used_again<true>, tile_used_again<false>, reversed_runs(512)),
      plain_case("barrier_in_a_branch", "half of the threads at a barrier", FindingKind::kBarrier, {},
                 barrier_in_a_branch<true>, barrier_in_a_branch<false>, halves),
      plain_case("returns_before_the_barrier", "threads of the tail end early", FindingKind::kBarrier,
                 {1, 128, 100, 100}, returns_before_the_barrier<true>, returns_before_the_barrier<false>, hundred),
      plain_case("two_barriers_for_one", "both sides of a branch with a barrier of their own", FindingKind::kBarrier,
                 {}, two_barriers_for_one<true>, two_barriers_for_one<false>, reversed_runs(128)),
      plain_case("named_barrier_of_too_many", "a barrier for 96 threads that 64 come to", FindingKind::kBarrier, {},
                 named_barrier_of_too_many<true>, named_barrier_of_too_many<false>, first_half),
      plain_case("never_written", "padding of a tile that is read without a value", FindingKind::kUninitialised, {},
                 never_written<true>, never_written<false>, padded),
  };
}

}  // namespace lastbit::broken
