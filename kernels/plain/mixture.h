// Tokens' way back from their experts, and the experts' loads: the obvious versions.
// Arrays are the device's, row-major; each function launches one kernel; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/plain/values_view.h"
#include "kernels/routing/routing.h"

namespace lastbit::kernels {

// y [tokens, d] = sum over slots, ascending, of weight * row, from +0; `row_of_slot` as permute() makes it.
void combine_rows(const Values& rows, const std::int64_t* row_of_slot, const float* weights,
                  const PermutationShape& shape, const Values& y);

// group_of_row [rows]: which of the groups whose rows begin at offsets [groups + 1] a row belongs to, -1 for none.
void groups_of_rows(const std::int64_t* offsets, int groups, int rows, std::int32_t* group_of_row);

// loads [experts] += rows of each expert.
void add_loads(const std::int64_t* offsets, int experts, std::int64_t* loads);

// ops::update_bias on the device, with its bits.
void update_bias(const std::int64_t* loads, int experts, float rate, double tolerance, float* bias);

}  // namespace lastbit::kernels
