#include "kernels/numbers/bf16.h"
#include "kernels/routing/routing.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;

// v0: one thread counts and places everything.
__global__ void place_v0(const std::int64_t* topk_idx, PermutationShape shape, std::int64_t* offsets,
                         std::int64_t* row_of_slot) {
  const int slots = shape.tokens * shape.top_k;
  std::int64_t next = 0;
  for (int e = 0; e < shape.experts; ++e) {
    offsets[e] = next;
    for (int slot = 0; slot < slots; ++slot)
      if (topk_idx[slot] == e) row_of_slot[slot] = next++;
  }
  offsets[shape.experts] = next;
  for (int slot = 0; slot < slots; ++slot)
    if (topk_idx[slot] < 0) row_of_slot[slot] = -1;
}

// v0: one thread an element; rows behind the last are +0.
__global__ void copy_rows_v0(const std::uint16_t* x, const std::int64_t* offsets, const std::int64_t* row_of_slot,
                             PermutationShape shape, std::uint16_t* rows) {
  const int slots = shape.tokens * shape.top_k;
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= slots * shape.d) return;
  const int slot = index / shape.d;
  const int j = index % shape.d;
  const auto d = static_cast<std::size_t>(shape.d);
  if (slot >= offsets[shape.experts]) rows[index] = 0;
  const std::int64_t row = row_of_slot[slot];
  if (row >= 0)
    rows[static_cast<std::size_t>(row) * d + static_cast<std::size_t>(j)] = x[slot / shape.top_k * shape.d + j];
}

// How many slots each expert has, and where its rows begin. One block.
__global__ void __launch_bounds__(kThreads)
    count_experts(const std::int64_t* topk_idx, PermutationShape shape, std::int64_t* offsets) {
  __shared__ int counts[kMostExperts];
  const int thread = static_cast<int>(threadIdx.x);
  for (int e = thread; e < shape.experts; e += kThreads) counts[e] = 0;
  __syncthreads();
  for (int slot = thread; slot < shape.tokens * shape.top_k; slot += kThreads)
    if (topk_idx[slot] >= 0) atomicAdd(&counts[topk_idx[slot]], 1);
  __syncthreads();
  if (thread != 0) return;
  std::int64_t next = 0;
  for (int e = 0; e < shape.experts; ++e) {
    offsets[e] = next;
    next += counts[e];
  }
  offsets[shape.experts] = next;
}

// One block an expert, and one more for unused slots: ranks of its slots in order, by ballots.
__global__ void __launch_bounds__(kThreads) place_slots(const std::int64_t* topk_idx, PermutationShape shape,
                                                        const std::int64_t* offsets, std::int64_t* row_of_slot) {
  __shared__ int found[kThreads / 32];
  const int expert = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  const unsigned below = (1U << (thread % 32)) - 1;
  const int slots = shape.tokens * shape.top_k;
  const bool unused = expert == shape.experts;
  std::int64_t next = unused ? 0 : offsets[expert];
  for (int begin = 0; begin < slots; begin += kThreads) {
    const int slot = begin + thread;
    const std::int64_t chosen = slot < slots ? topk_idx[slot] : -1;
    const bool mine = slot < slots && (unused ? chosen < 0 : chosen == expert);
    if (unused) {
      if (mine) row_of_slot[slot] = -1;
      continue;  // all threads
    }
    const unsigned votes = __ballot_sync(0xffffffffU, mine ? 1 : 0);
    if (thread % 32 == 0) found[warp] = __popc(votes);
    __syncthreads();
    int before = __popc(votes & below);
    int all = 0;
    for (int w = 0; w < kThreads / 32; ++w) {
      if (w < warp) before += found[w];
      all += found[w];
    }
    if (mine) row_of_slot[slot] = next + before;
    next += all;
    __syncthreads();
  }
}

// One block a slot.
__global__ void __launch_bounds__(kThreads)
    copy_rows(const std::uint16_t* x, const std::int64_t* offsets, const std::int64_t* row_of_slot,
              PermutationShape shape, std::uint16_t* rows) {
  const int slot = static_cast<int>(blockIdx.x);
  const auto d = static_cast<std::size_t>(shape.d);
  const std::int64_t row = row_of_slot[slot];
  const bool behind = slot >= offsets[shape.experts];
  const std::uint16_t* const from = x + static_cast<std::size_t>(slot / shape.top_k) * d;
  for (auto j = static_cast<std::size_t>(threadIdx.x); j < d; j += kThreads) {
    if (behind) rows[static_cast<std::size_t>(slot) * d + j] = 0;
    if (row >= 0) rows[static_cast<std::size_t>(row) * d + j] = from[j];
  }
}

__device__ float add_weighted(float sum, float weight, float value, bool fma) {
  return fma ? __fmaf_rn(weight, value, sum) : __fadd_rn(sum, __fmul_rn(weight, value));
}

// v0: one thread an element.
__global__ void unpermute_v0(const std::uint16_t* rows, const std::int64_t* row_of_slot, const float* weights,
                             PermutationShape shape, bool fma, std::uint16_t* y) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= shape.tokens * shape.d) return;
  const int token = index / shape.d;
  float sum = 0;
  for (int i = 0; i < shape.top_k; ++i) {
    const int slot = token * shape.top_k + i;
    if (row_of_slot[slot] < 0) continue;
    const std::size_t at = static_cast<std::size_t>(row_of_slot[slot]) * static_cast<std::size_t>(shape.d) +
                           static_cast<std::size_t>(index % shape.d);
    sum = add_weighted(sum, weights[slot], bf16_value(rows[at]), fma);
  }
  y[index] = bf16_code(sum);
}

// One block a token: its slots are read once.
__global__ void __launch_bounds__(kThreads)
    unpermute_tokens(const std::uint16_t* rows, const std::int64_t* row_of_slot, const float* weights,
                     PermutationShape shape, bool fma, std::uint16_t* y) {
  __shared__ std::int64_t slot_rows[kMostTopK];
  __shared__ float slot_weights[kMostTopK];
  const int token = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < shape.top_k) {
    slot_rows[thread] = row_of_slot[token * shape.top_k + thread];
    slot_weights[thread] = weights[token * shape.top_k + thread];
  }
  __syncthreads();
  const auto d = static_cast<std::size_t>(shape.d);
  for (auto j = static_cast<std::size_t>(thread); j < d; j += kThreads) {
    float sum = 0;
    for (int i = 0; i < shape.top_k; ++i)
      if (slot_rows[i] >= 0)
        sum = add_weighted(sum, slot_weights[i], bf16_value(rows[static_cast<std::size_t>(slot_rows[i]) * d + j]), fma);
    y[static_cast<std::size_t>(token) * d + j] = bf16_code(sum);
  }
}

dim3 grid_of(int count) { return dim3{static_cast<unsigned>(count), 1, 1}; }

}  // namespace

void permute(const std::uint16_t* x, const std::int64_t* topk_idx, const PermutationShape& shape, std::uint16_t* rows,
             std::int64_t* offsets, std::int64_t* row_of_slot, Version version) {
  const int slots = shape.tokens * shape.top_k;
  const dim3 block{kThreads, 1, 1};
  if (version == Version::kObvious) {
    simt::launch({"place", grid_of(1), dim3{1, 1, 1}}, place_v0, topk_idx, shape, offsets, row_of_slot);
    simt::launch({"copy_rows", grid_of((slots * shape.d + kThreads - 1) / kThreads), block}, copy_rows_v0, x, offsets,
                 row_of_slot, shape, rows);
    return;
  }
  simt::launch({"count_experts", grid_of(1), block}, count_experts, topk_idx, shape, offsets);
  simt::launch({"place_slots", grid_of(shape.experts + 1), block}, place_slots, topk_idx, shape, offsets, row_of_slot);
  simt::launch({"copy_rows", grid_of(slots), block}, copy_rows, x, offsets, row_of_slot, shape, rows);
}

void unpermute(const std::uint16_t* rows, const std::int64_t* row_of_slot, const float* weights,
               const PermutationShape& shape, bool fma, std::uint16_t* y, Version version) {
  const dim3 block{kThreads, 1, 1};
  if (version == Version::kObvious)
    simt::launch({"unpermute", grid_of((shape.tokens * shape.d + kThreads - 1) / kThreads), block}, unpermute_v0, rows,
                 row_of_slot, weights, shape, fma, y);
  else
    simt::launch({"unpermute", grid_of(shape.tokens), block}, unpermute_tokens, rows, row_of_slot, weights, shape, fma,
                 y);
}

}  // namespace lastbit::kernels
