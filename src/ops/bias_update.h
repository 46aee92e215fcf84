#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace lastbit::ops {

// Loss-free balancing (arXiv 2408.15664, algorithm 1; arXiv 2412.19437, section 2.1.2), once a step, in place:
// b_i -= gamma where load_i is above the mean load, += gamma where it is below, unchanged where it is equal. Loads
// within `tolerance` times the mean of it count as equal (0: none; the loads are whole numbers and compare exactly).
// bias [experts] FP32 or FP64: gamma rounded to that dtype, then one addition. load: tokens that chose each expert,
// before any were dropped.
void update_bias(tensor::Tensor& bias, std::span<const std::int64_t> load, double gamma, double tolerance = 0);

}  // namespace lastbit::ops
