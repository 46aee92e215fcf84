#include "kernels/simt/cuda.h"
#include "simt/broken_kernels.h"

namespace lastbit::broken {
namespace {

using simt::FindingKind;

constexpr unsigned kAll = 0xffffffffU;

template <bool kBroken>
__global__ void missing_syncwarp(const float* in, float* out, int /*n*/) {
  __shared__ float tile[32];
  const int lane = static_cast<int>(threadIdx.x);
  tile[lane] = in[lane];
  __syncwarp();
  for (int step = 16; step > 0; step /= 2) {
    if (lane < step) tile[lane] += tile[lane + step];
    if constexpr (!kBroken) __syncwarp();
  }
  __syncwarp();
  out[lane] = tile[0];
}

template <bool kBroken>
__global__ void mask_of_half_a_warp(const float* in, float* out, int /*n*/) {
  float sum = in[threadIdx.x];
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kBroken ? 0xffffU : kAll, sum, lanes);
  out[threadIdx.x] = sum;
}

template <bool kBroken>
__global__ void shuffle_in_a_branch(const float* in, float* out, int /*n*/) {
  float value = in[threadIdx.x];
  if (!kBroken || threadIdx.x < 16) value += __shfl_xor_sync(kAll, value, 1);
  __syncwarp();
  out[threadIdx.x] = value;
}

// Lanes behind the tail's end have returned, and one reads theirs.
template <bool kBroken>
__global__ void shuffle_from_a_lane_that_ended(const float* in, float* out, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (kBroken && i >= n) return;
  const float mine = i < n ? in[i] : 0;
  const float next = __shfl_down_sync(kAll, mine, 1);
  if (i < n) out[i] = next;
}

template <bool kBroken>
__global__ void two_operations_of_one_warp(const float* in, float* out, int /*n*/) {
  const float value = in[threadIdx.x];
  float result = 0;
  if (kBroken && threadIdx.x >= 16)
    result = static_cast<float>(__ballot_sync(kAll, 1) != 0);
  else
    result = __shfl_sync(kAll, value, 0);
  out[threadIdx.x] = result;
}

template <bool kBroken>
__global__ void segments_too_wide(const float* in, float* out, int /*n*/) {
  float sum = in[threadIdx.x];
  for (int lanes = kBroken ? 16 : 4; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kAll, sum, lanes);
  out[threadIdx.x] = sum;  // of eight lanes
}

std::vector<float> constant(float value) { return std::vector<float>(32, value); }

}  // namespace

std::vector<BrokenKernel> broken_warps() {
  const PlainShape warp{1, 32, 32, 32};
  std::vector<float> pairs;
  for (int i = 0; i < 32; ++i) pairs.push_back(static_cast<float>(i + (i ^ 1)));
  std::vector<float> next;
  for (int i = 0; i < 20; ++i) next.push_back(i < 19 ? static_cast<float>(i + 1) : 0);
  std::vector<float> eights;
  for (int i = 0; i < 32; ++i) eights.push_back(static_cast<float>(i / 8 * 64 + 28));
  return {
      plain_case("missing_syncwarp", "lanes read what others wrote, without __syncwarp", FindingKind::kRace, warp,
                 missing_syncwarp<true>, missing_syncwarp<false>, constant(496)),
      plain_case("mask_of_half_a_warp", "a mask that leaves callers out", FindingKind::kWarp, warp,
                 mask_of_half_a_warp<true>, mask_of_half_a_warp<false>, constant(496)),
      plain_case("shuffle_in_a_branch", "half of the mask's lanes at a shuffle", FindingKind::kWarp, warp,
                 shuffle_in_a_branch<true>, shuffle_in_a_branch<false>, pairs),
      plain_case("shuffle_from_a_lane_that_ended", "the value of a lane that has returned", FindingKind::kWarp,
                 {1, 32, 20, 20}, shuffle_from_a_lane_that_ended<true>, shuffle_from_a_lane_that_ended<false>, next),
      plain_case("two_operations_of_one_warp", "a shuffle and a vote under one mask", FindingKind::kWarp, warp,
                 two_operations_of_one_warp<true>, two_operations_of_one_warp<false>, constant(0)),
      plain_case("segments_too_wide", "a sum over the warp for one over eight lanes", std::nullopt, warp,
                 segments_too_wide<true>, segments_too_wide<false>, eights),
  };
}

}  // namespace lastbit::broken
