#include "kernels/numbers/block_sum.h"
#include "kernels/numbers/lane_sum.h"
#include "kernels/routing/routing_gradients.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;

__device__ std::size_t row_begin(std::int64_t row, int d) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(d);
}

// The sum of what a token's slots have at one column; `rows` are theirs, -1 for none.
template <typename T>
__device__ float sum_of_slots(const T* drows, const std::int64_t* rows, int top_k, int d, int col) {
  float sum = 0;
  for (int i = 0; i < top_k; ++i)
    if (rows[i] >= 0) sum += load_value(drows + row_begin(rows[i], d) + col);
  return sum;
}

// v0: one thread an element.
template <typename T>
__global__ void permute_backward_v0(const T* drows, const std::int64_t* row_of_slot, PermutationShape shape, T* dx) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= shape.tokens * shape.d) return;
  const std::int64_t* const rows = row_of_slot + index / shape.d * shape.top_k;
  store_value(dx + index, sum_of_slots(drows, rows, shape.top_k, shape.d, index % shape.d));
}

// One block a token: its slots are read once.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    permute_backward_tokens(const T* drows, const std::int64_t* row_of_slot, PermutationShape shape, T* dx) {
  __shared__ std::int64_t rows[kMostTopK];
  const int thread = static_cast<int>(threadIdx.x);
  const int token = static_cast<int>(blockIdx.x);
  if (thread < shape.top_k) rows[thread] = row_of_slot[token * shape.top_k + thread];
  __syncthreads();
  for (int col = thread; col < shape.d; col += kThreads)
    store_value(dx + row_begin(token, shape.d) + col, sum_of_slots(drows, rows, shape.top_k, shape.d, col));
}

// v0: one thread a slot.
template <typename T>
__global__ void unpermute_backward_v0(UnpermuteBackward<T> call) {
  const PermutationShape& shape = call.shape;
  const int slot = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (slot >= shape.tokens * shape.top_k) return;
  if (slot >= call.offsets[shape.experts])
    for (int i = 0; i < shape.d; ++i) store_value(call.drows + row_begin(slot, shape.d) + i, 0);
  const std::int64_t row = call.row_of_slot[slot];
  call.dweights[slot] = 0;
  if (row < 0) return;
  const T* const dy = call.dy + row_begin(slot / shape.top_k, shape.d);
  for (int i = 0; i < shape.d; ++i)
    store_value(call.drows + row_begin(row, shape.d) + i, call.weights[slot] * load_value(dy + i));
  call.dweights[slot] = lane_dot(dy, call.rows + row_begin(row, shape.d), shape.d);
}

// One block a slot.
template <typename T>
__global__ void __launch_bounds__(kThreads) unpermute_backward_slots(UnpermuteBackward<T> call) {
  __shared__ float dots[kThreads / 32];
  const PermutationShape& shape = call.shape;
  const int slot = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  if (slot >= call.offsets[shape.experts])
    for (int i = thread; i < shape.d; i += kThreads) store_value(call.drows + row_begin(slot, shape.d) + i, 0);
  const std::int64_t row = call.row_of_slot[slot];
  if (row < 0) {  // the whole block
    if (thread == 0) call.dweights[slot] = 0;
    return;
  }
  const T* const dy = call.dy + row_begin(slot / shape.top_k, shape.d);
  const float weight = call.weights[slot];
  float dot = 0;
  for (int i = thread; i < shape.d; i += kThreads) {
    const float y = load_value(dy + i);
    dot = __fmaf_rn(y, load_value(call.rows + row_begin(row, shape.d) + i), dot);
    store_value(call.drows + row_begin(row, shape.d) + i, weight * y);
  }
  dot = block_sum<kThreads>(dot, dots);
  if (thread == 0) call.dweights[slot] = dot;
}

dim3 grid_of(int count, int each) { return dim3{static_cast<unsigned>((count + each - 1) / each), 1, 1}; }

}  // namespace

template <typename T>
void permute_backward(const T* drows, const std::int64_t* row_of_slot, const PermutationShape& shape, T* dx,
                      Version version) {
  const bool obvious = version == Version::kObvious;
  simt::launch({"permute_backward", obvious ? grid_of(shape.tokens * shape.d, kThreads) : grid_of(shape.tokens, 1),
                dim3{kThreads, 1, 1}},
               obvious ? permute_backward_v0<T> : permute_backward_tokens<T>, drows, row_of_slot, shape, dx);
}

template <typename T>
void unpermute_backward(const UnpermuteBackward<T>& call, Version version) {
  const bool obvious = version == Version::kObvious;
  const int slots = call.shape.tokens * call.shape.top_k;
  simt::launch({"unpermute_backward", grid_of(slots, obvious ? 32 : 1), dim3{obvious ? 32U : unsigned{kThreads}, 1, 1}},
               obvious ? unpermute_backward_v0<T> : unpermute_backward_slots<T>, call);
}

template void permute_backward<float>(const float* drows, const std::int64_t* row_of_slot,
                                      const PermutationShape& shape, float* dx, Version version);
template void permute_backward<std::uint16_t>(const std::uint16_t* drows, const std::int64_t* row_of_slot,
                                              const PermutationShape& shape, std::uint16_t* dx, Version version);
template void unpermute_backward<float>(const UnpermuteBackward<float>& call, Version version);
template void unpermute_backward<std::uint16_t>(const UnpermuteBackward<std::uint16_t>& call, Version version);

}  // namespace lastbit::kernels
