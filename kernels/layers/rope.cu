#include "kernels/layers/layers.h"
#include "kernels/numbers/bf16.h"

namespace lastbit::kernels {
namespace {

constexpr int kMostThreadsARow = 128;

// Where the two of pair j lie in a row before and after the turn.
struct PairPlace {
  int first;
  int second;
  int to_first;
  int to_second;
};

__device__ PairPlace pair_place(int j, int dim, RopeLayout layout) {
  const int half = dim / 2;
  if (layout == RopeLayout::kHalfSplit) return {j, j + half, j, j + half};
  if (layout == RopeLayout::kInterleaved) return {2 * j, 2 * j + 1, 2 * j, 2 * j + 1};
  return {2 * j, 2 * j + 1, j, j + half};
}

__device__ void turn_pair(const std::uint16_t* x, float c, float s, const PairPlace& place, std::uint16_t* y) {
  const float a = bf16_value(x[place.first]);
  const float b = bf16_value(x[place.second]);
  y[place.to_first] = bf16_code(a * c - b * s);
  y[place.to_second] = bf16_code(b * c + a * s);
}

// v0: one thread a pair.
__global__ void rope_v0(const std::uint16_t* x, const float* cosines, const float* sines, RopeShape shape,
                        RopeLayout layout, std::uint16_t* y) {
  const int half = shape.dim / 2;
  const int pair = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (pair >= shape.tokens * shape.heads * half) return;
  const int row = pair / half;
  const int j = pair % half;
  const int angle = row / shape.heads * half + j;
  const std::size_t begin = static_cast<std::size_t>(row) * static_cast<std::size_t>(shape.dim);
  turn_pair(x + begin, cosines[angle], sines[angle], pair_place(j, shape.dim, layout), y + begin);
}

// One block a token: a thread reads its angles once for all heads.
__global__ void __launch_bounds__(kMostThreadsARow)
    rope_tokens(const std::uint16_t* x, const float* cosines, const float* sines, RopeShape shape, RopeLayout layout,
                std::uint16_t* y) {
  const int half = shape.dim / 2;
  const int token = static_cast<int>(blockIdx.x);
  for (int j = static_cast<int>(threadIdx.x); j < half; j += static_cast<int>(blockDim.x)) {
    const float c = cosines[token * half + j];
    const float s = sines[token * half + j];
    const PairPlace place = pair_place(j, shape.dim, layout);
    for (int head = 0; head < shape.heads; ++head) {
      const std::size_t begin =
          static_cast<std::size_t>(token * shape.heads + head) * static_cast<std::size_t>(shape.dim);
      turn_pair(x + begin, c, s, place, y + begin);
    }
  }
}

}  // namespace

void rope(const std::uint16_t* x, const float* cosines, const float* sines, const RopeShape& shape, RopeLayout layout,
          std::uint16_t* y, Version version) {
  const int pairs = shape.tokens * shape.heads * (shape.dim / 2);
  if (version == Version::kObvious) {
    simt::launch({"rope", dim3{static_cast<unsigned>((pairs + 127) / 128), 1, 1}, dim3{128, 1, 1}}, rope_v0, x, cosines,
                 sines, shape, layout, y);
    return;
  }
  const int threads = shape.dim / 2 < kMostThreadsARow ? shape.dim / 2 : kMostThreadsARow;
  simt::launch({"rope", dim3{static_cast<unsigned>(shape.tokens), 1, 1}, dim3{static_cast<unsigned>(threads), 1, 1}},
               rope_tokens, x, cosines, sines, shape, layout, y);
}

}  // namespace lastbit::kernels
