#include "kernels/layers/layer_gradients.h"
#include "kernels/numbers/values.h"

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

__device__ PairPlace pair_place(int j, int dim, RopeLayout layout, bool backward) {
  const int half = dim / 2;
  if (layout == RopeLayout::kHalfSplit) return {j, j + half, j, j + half};
  if (layout == RopeLayout::kInterleaved) return {2 * j, 2 * j + 1, 2 * j, 2 * j + 1};
  return backward ? PairPlace{j, j + half, 2 * j, 2 * j + 1} : PairPlace{2 * j, 2 * j + 1, j, j + half};
}

template <typename T>
struct RopeArrays {
  const T* x;
  const float* cosines;
  const float* sines;
  T* y;
  RopeShape shape;
  RopeLayout layout;
  bool backward;  // the transposed turn
};

template <typename T>
__device__ void turn_pair(const RopeArrays<T>& arrays, int token, int head, int j, float c, float s) {
  const RopeShape& shape = arrays.shape;
  const std::size_t begin =
      static_cast<std::size_t>(token * shape.heads + head) * static_cast<std::size_t>(shape.head_stride);
  const PairPlace place = pair_place(j, shape.dim, arrays.layout, arrays.backward);
  const float a = load_value(arrays.x + begin + place.first);
  const float b = load_value(arrays.x + begin + place.second);
  store_value(arrays.y + begin + place.to_first, a * c - b * s);
  store_value(arrays.y + begin + place.to_second, b * c + a * s);
}

// v0: one thread a pair.
template <typename T>
__global__ void rope_v0(RopeArrays<T> arrays) {
  const RopeShape& shape = arrays.shape;
  const int half = shape.dim / 2;
  const int pair = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (pair >= shape.tokens * shape.heads * half) return;
  const int row = pair / half;
  const int j = pair % half;
  const int angle = row / shape.heads * half + j;
  const float s = arrays.sines[angle];
  turn_pair(arrays, row / shape.heads, row % shape.heads, j, arrays.cosines[angle], arrays.backward ? -s : s);
}

// One block a token: a thread reads its angles once for all heads.
template <typename T>
__global__ void __launch_bounds__(kMostThreadsARow) rope_tokens(RopeArrays<T> arrays) {
  const int half = arrays.shape.dim / 2;
  const int token = static_cast<int>(blockIdx.x);
  for (int j = static_cast<int>(threadIdx.x); j < half; j += static_cast<int>(blockDim.x)) {
    const float c = arrays.cosines[token * half + j];
    const float s = arrays.sines[token * half + j];
    for (int head = 0; head < arrays.shape.heads; ++head)
      turn_pair(arrays, token, head, j, c, arrays.backward ? -s : s);
  }
}

template <typename T>
void launch_rope(const RopeArrays<T>& arrays, Version version) {
  const RopeShape& shape = arrays.shape;
  const int pairs = shape.tokens * shape.heads * (shape.dim / 2);
  if (version == Version::kObvious) {
    simt::launch({"rope", dim3{static_cast<unsigned>((pairs + 127) / 128), 1, 1}, dim3{128, 1, 1}}, rope_v0<T>, arrays);
    return;
  }
  const int threads = shape.dim / 2 < kMostThreadsARow ? shape.dim / 2 : kMostThreadsARow;
  simt::launch({"rope", dim3{static_cast<unsigned>(shape.tokens), 1, 1}, dim3{static_cast<unsigned>(threads), 1, 1}},
               rope_tokens<T>, arrays);
}

}  // namespace

void rope(const std::uint16_t* x, const float* cosines, const float* sines, const RopeShape& shape, RopeLayout layout,
          std::uint16_t* y, Version version) {
  launch_rope(RopeArrays<std::uint16_t>{x, cosines, sines, y, shape, layout, false}, version);
}

template <typename T>
void rope_backward(const T* dy, const float* cosines, const float* sines, const RopeShape& shape, RopeLayout layout,
                   T* dx, Version version) {
  launch_rope(RopeArrays<T>{dy, cosines, sines, dx, shape, layout, true}, version);
}

template void rope_backward<float>(const float* dy, const float* cosines, const float* sines, const RopeShape& shape,
                                   RopeLayout layout, float* dx, Version version);
template void rope_backward<std::uint16_t>(const std::uint16_t* dy, const float* cosines, const float* sines,
                                           const RopeShape& shape, RopeLayout layout, std::uint16_t* dx,
                                           Version version);

}  // namespace lastbit::kernels
