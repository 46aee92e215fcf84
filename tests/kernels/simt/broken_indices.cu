#include "kernels/simt/cuda.h"
#include "simt/broken_kernels.h"

namespace lastbit::broken {
namespace {

using simt::FindingKind;

__device__ int global_index() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

template <bool kBroken>
__global__ void tail_one_more(const float* in, float* out, int n) {
  const int i = global_index();
  if (kBroken ? i <= n : i < n) out[i] = in[i] + 1;
}

template <bool kBroken>
__global__ void tail_dropped(const float* in, float* out, int n) {
  const int i = 4 * global_index();
  for (int j = i; j < (kBroken ? min(i + 4, n / 4 * 4) : min(i + 4, n)); ++j) out[j] = in[j] + 1;
}

// A 32 x 32 matrix turned around by way of shared memory.
template <bool kBroken>
__global__ void transpose_wrong_index(const float* in, float* out, int /*n*/) {
  __shared__ float tile[32][33];
  const int x = static_cast<int>(threadIdx.x) % 32;
  const int y = static_cast<int>(threadIdx.x) / 32;
  for (int row = y; row < 32; row += 4) tile[row][x] = in[row * 32 + x];
  __syncthreads();
  for (int row = y; row < 32; row += 4) out[row * 32 + x] = kBroken ? tile[row][x] : tile[x][row];
}

template <bool kBroken>
__global__ void shared_one_more(const float* in, float* out, int n) {
  __shared__ float tile[128];
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = in[i];
  __syncthreads();
  const int next = i + 1;
  out[i] = kBroken || next < n ? tile[next] : 0;
}

template <bool kBroken>
__global__ void arena_too_small(const float* in, float* out, int n) {
  auto* const tile = reinterpret_cast<float*>(simt::dynamic_shared());
  const int i = static_cast<int>(threadIdx.x);
  const int stride = kBroken ? 2 : 1;
  tile[i * stride] = in[i];
  __syncthreads();
  out[i] = tile[(n - 1 - i) * stride];
}

template <bool kBroken>
__global__ void before_the_beginning(const float* in, float* out, int /*n*/) {
  const int i = static_cast<int>(threadIdx.x);
  out[i] = in[i] - (kBroken || i > 0 ? in[i - 1] : 0);
}

template <bool kBroken>
__global__ void writes_its_input(const float* in, float* out, int /*n*/) {
  // Constants of the program may be read, not written.
  static const float kConstants[4] = {1, 2, 3, 4};
  const int i = static_cast<int>(threadIdx.x);
  if constexpr (kBroken) const_cast<float*>(kConstants)[i % 4] = in[i];
  out[i] = kConstants[i % 4];
}

std::vector<float> plus_one(int n) {
  std::vector<float> x = ramp(n);
  for (float& value : x) value += 1;
  return x;
}

std::vector<float> transposed() {
  std::vector<float> x;
  for (int i = 0; i < 1024; ++i) x.push_back(static_cast<float>(i % 32 * 32 + i / 32));
  return x;
}

std::vector<float> next_ones() {
  std::vector<float> x = plus_one(128);
  x.back() = 0;
  return x;
}

std::vector<float> constants() {
  std::vector<float> x;
  for (int i = 0; i < 128; ++i) x.push_back(static_cast<float>(i % 4 + 1));
  return x;
}

}  // namespace

std::vector<BrokenKernel> broken_indices() {
  std::vector<float> reversed = ramp(128);
  reversed = {reversed.rbegin(), reversed.rend()};
  std::vector<float> ones(128, 1);
  ones[0] = 0;
  return {
      plain_case("tail_one_more", "i <= n for i < n", FindingKind::kOutOfBounds, {2, 128, 200, 200},
                 tail_one_more<true>, tail_one_more<false>, plus_one(200)),
      plain_case("tail_dropped", "the last n % 4 elements left out", std::nullopt, {1, 64, 203, 203},
                 tail_dropped<true>, tail_dropped<false>, plus_one(203)),
      plain_case("transpose_wrong_index", "rows for columns", std::nullopt, {1, 128, 1024, 1024},
                 transpose_wrong_index<true>, transpose_wrong_index<false>, transposed()),
      plain_case("shared_one_more", "an index one beyond a __shared__ array", FindingKind::kOutOfBounds, {},
                 shared_one_more<true>, shared_one_more<false>, next_ones()),
      plain_case("arena_too_small", "twice the stride that the launch has shared memory for", FindingKind::kOutOfBounds,
                 {1, 128, 128, 128, 512}, arena_too_small<true>, arena_too_small<false>, reversed),
      plain_case("before_the_beginning", "element -1 of a buffer", FindingKind::kOutOfBounds, {},
                 before_the_beginning<true>, before_the_beginning<false>, ones),
      plain_case("writes_its_input", "a write to a constant of the program", FindingKind::kOutOfBounds, {},
                 writes_its_input<true>, writes_its_input<false>, constants()),
  };
}

}  // namespace lastbit::broken
