#include "kernels/plain/mixture.h"
#include "kernels/plain/values.h"
#include "kernels/simt/cuda.h"

namespace lastbit::kernels {
namespace {

constexpr int kSlotThreads = 32;

__device__ std::size_t row_element(std::int64_t row, int d, int col) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(d) + static_cast<std::size_t>(col);
}

// One thread an element.
__global__ void combine_elements(Values rows, const std::int64_t* row_of_slot, const float* weights,
                                 PermutationShape shape, Values y) {
  const std::size_t index = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const auto d = static_cast<std::size_t>(shape.d);
  if (index >= static_cast<std::size_t>(shape.tokens) * d) return;
  const int token = static_cast<int>(index / d);
  const int col = static_cast<int>(index % d);
  float sum = 0;
  for (int slot = token * shape.top_k; slot < (token + 1) * shape.top_k; ++slot) {
    if (row_of_slot[slot] < 0) continue;
    const float value = load_value(rows, row_element(row_of_slot[slot], shape.d, col));
    sum = __fadd_rn(sum, __fmul_rn(weights[slot], value));
  }
  store_value(y, index, sum);
}

// One thread a row.
__global__ void find_groups(const std::int64_t* offsets, int groups, int rows, std::int32_t* group_of_row) {
  const int row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= rows) return;
  int group = 0;
  while (group < groups && row >= offsets[group + 1]) ++group;
  group_of_row[row] = group < groups ? group : -1;
}

// One thread an expert.
__global__ void add_expert_loads(const std::int64_t* offsets, int experts, std::int64_t* loads) {
  const int e = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (e < experts) loads[e] += offsets[e + 1] - offsets[e];
}

// One thread an expert, which adds up all loads.
__global__ void update_expert_bias(const std::int64_t* loads, int experts, float rate, double tolerance, float* bias) {
  const int e = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (e >= experts) return;
  std::int64_t total = 0;
  for (int other = 0; other < experts; ++other) total += loads[other];
  const std::int64_t excess = loads[e] * experts - total;
  const auto distance = static_cast<double>(excess < 0 ? -excess : excess);
  if (distance <= tolerance * static_cast<double>(total)) return;
  bias[e] += excess > 0 ? -rate : rate;
}

dim3 slot_blocks(int count) { return blocks_of(static_cast<std::size_t>(count), kSlotThreads); }

constexpr dim3 kSlotBlock{kSlotThreads, 1, 1};

}  // namespace

void combine_rows(const Values& rows, const std::int64_t* row_of_slot, const float* weights,
                  const PermutationShape& shape, const Values& y) {
  const std::size_t count = static_cast<std::size_t>(shape.tokens) * static_cast<std::size_t>(shape.d);
  simt::launch({"combine_rows", blocks_of(count, kSlotThreads), kSlotBlock}, combine_elements, rows, row_of_slot,
               weights, shape, y);
}

void groups_of_rows(const std::int64_t* offsets, int groups, int rows, std::int32_t* group_of_row) {
  simt::launch({"groups_of_rows", slot_blocks(rows), kSlotBlock}, find_groups, offsets, groups, rows, group_of_row);
}

void add_loads(const std::int64_t* offsets, int experts, std::int64_t* loads) {
  simt::launch({"add_loads", slot_blocks(experts), kSlotBlock}, add_expert_loads, offsets, experts, loads);
}

void update_bias(const std::int64_t* loads, int experts, float rate, double tolerance, float* bias) {
  simt::launch({"update_bias", slot_blocks(experts), kSlotBlock}, update_expert_bias, loads, experts, rate, tolerance,
               bias);
}

}  // namespace lastbit::kernels
