// Tokens' way back from their experts, gradients of it and of the router, and the experts' loads: the obvious versions.
// Arrays are the device's, row-major; each function launches one kernel; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/plain/values_view.h"
#include "kernels/routing/routing.h"

namespace lastbit::kernels {

// y [tokens, d] = sum over slots, ascending, of weight * row, from +0; `row_of_slot` as permute() makes it. Without
// weights: of the rows, which is the gradient of permute().
void combine_rows(const Values& rows, const std::int64_t* row_of_slot, const float* weights,
                  const PermutationShape& shape, const Values& y);
// drow = weight * dy of its token; dweight [tokens, top_k] = dy . row, 0 in unused slots.
void combine_rows_gradient(const Values& dy, const Values& rows, const std::int64_t* row_of_slot, const float* weights,
                           const PermutationShape& shape, const Values& drows, float* dweights);

// dlogits [tokens, experts] FP32 of what kernels::route does with logits and chose; 0 of experts not chosen.
void route_gradient(const float* logits, const std::int64_t* topk_idx, const float* dweights, int tokens,
                    const RouterRule& rule, float* dlogits);

// loads [experts] += rows of each expert.
void add_loads(const std::int64_t* offsets, int experts, std::int64_t* loads);

// ops::update_bias on the device, with its bits.
void update_bias(const std::int64_t* loads, int experts, float rate, double tolerance, float* bias);

}  // namespace lastbit::kernels
