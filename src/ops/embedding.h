#pragma once

#include "tensor/tensor.h"

namespace lastbit::ops {

// Rows of the table: ids [..., ] i64 within [0, vocabulary), table [vocabulary, d] FP32; result [..., d].
// Errors: an id outside the vocabulary is an internal error: check input first.
[[nodiscard]] tensor::Tensor embedding(const tensor::Tensor& ids, const tensor::Tensor& table);

}  // namespace lastbit::ops
