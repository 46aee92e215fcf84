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
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= shape.tokens * shape.d) return;
  const int token = index / shape.d;
  float sum = 0;
  for (int slot = token * shape.top_k; slot < (token + 1) * shape.top_k; ++slot) {
    if (row_of_slot[slot] < 0) continue;
    const float value = load_value(rows, row_element(row_of_slot[slot], shape.d, index % shape.d));
    sum = __fadd_rn(sum, weights == nullptr ? value : __fmul_rn(weights[slot], value));
  }
  store_value(y, static_cast<std::size_t>(index), sum);
}

// One block a slot; its first thread adds up the product.
__global__ void __launch_bounds__(kSlotThreads)
    combine_gradient_slots(Values dy, Values rows, const std::int64_t* row_of_slot, const float* weights,
                           PermutationShape shape, Values drows, float* dweights) {
  const int slot = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t row = row_of_slot[slot];
  const int token = slot / shape.top_k;
  if (row < 0) {
    if (thread == 0) dweights[slot] = 0;
    return;  // all threads
  }
  for (int j = thread; j < shape.d; j += kSlotThreads)
    store_value(drows, row_element(row, shape.d, j),
                __fmul_rn(weights[slot], load_value(dy, row_element(token, shape.d, j))));
  if (thread != 0) return;
  float dot = 0;
  for (int j = 0; j < shape.d; ++j)
    dot =
        __fmaf_rn(load_value(dy, row_element(token, shape.d, j)), load_value(rows, row_element(row, shape.d, j)), dot);
  dweights[slot] = dot;
}

__device__ float sigmoid(float logit) { return __fdiv_rn(1, 1 + expf(-logit)); }

// One thread a token. A weight is scale * s / S, S the sum over the chosen where weights are normalised, else 1.
__global__ void route_gradient_tokens(const float* logits, const std::int64_t* topk_idx, const float* dweights,
                                      int tokens, RouterRule rule, float* dlogits) {
  const int token = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (token >= tokens) return;
  const float* const row = logits + row_element(token, rule.experts, 0);
  float* const drow = dlogits + row_element(token, rule.experts, 0);
  for (int e = 0; e < rule.experts; ++e) drow[e] = 0;
  float sum = 0;
  float dot = 0;
  for (int i = token * rule.top_k; i < (token + 1) * rule.top_k; ++i) {
    const float s = sigmoid(row[topk_idx[i]]);
    sum += s;
    dot = __fmaf_rn(dweights[i], s, dot);
  }
  const float share = rule.normalise ? __fdiv_rn(dot, sum) : 0.0F;
  for (int i = token * rule.top_k; i < (token + 1) * rule.top_k; ++i) {
    const float s = sigmoid(row[topk_idx[i]]);
    const float ds = (dweights[i] - share) * rule.scale;
    drow[topk_idx[i]] = (rule.normalise ? __fdiv_rn(ds, sum) : ds) * (s * (1 - s));
  }
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
  simt::launch({"combine_rows", slot_blocks(shape.tokens * shape.d), kSlotBlock}, combine_elements, rows, row_of_slot,
               weights, shape, y);
}

void combine_rows_gradient(const Values& dy, const Values& rows, const std::int64_t* row_of_slot, const float* weights,
                           const PermutationShape& shape, const Values& drows, float* dweights) {
  simt::launch({"combine_rows_gradient", dim3{static_cast<unsigned>(shape.tokens * shape.top_k), 1, 1}, kSlotBlock},
               combine_gradient_slots, dy, rows, row_of_slot, weights, shape, drows, dweights);
}

void route_gradient(const float* logits, const std::int64_t* topk_idx, const float* dweights, int tokens,
                    const RouterRule& rule, float* dlogits) {
  simt::launch({"route_gradient", slot_blocks(tokens), kSlotBlock}, route_gradient_tokens, logits, topk_idx, dweights,
               tokens, rule, dlogits);
}

void add_loads(const std::int64_t* offsets, int experts, std::int64_t* loads) {
  simt::launch({"add_loads", slot_blocks(experts), kSlotBlock}, add_expert_loads, offsets, experts, loads);
}

void update_bias(const std::int64_t* loads, int experts, float rate, double tolerance, float* bias) {
  simt::launch({"update_bias", slot_blocks(experts), kSlotBlock}, update_expert_bias, loads, experts, rate, tolerance,
               bias);
}

}  // namespace lastbit::kernels
