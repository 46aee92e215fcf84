#pragma once

#include "tensor/tensor.h"

namespace lastbit::ops {

// Rows of the table: ids [...] i64 within [0, vocabulary), table [vocabulary, d] FP32 or FP64; result [..., d] of the
// table's type. Errors: an id outside the vocabulary is an internal error: check input first.
[[nodiscard]] tensor::Tensor embedding(const tensor::Tensor& ids, const tensor::Tensor& table);

// dtable[id] += dy[token], tokens ascending, one addition each: dy [..., d] of dtable's type, ids [...] i64, dtable
// [vocabulary, d]. Errors: as embedding.
void embedding_backward(const tensor::Tensor& dy, const tensor::Tensor& ids, tensor::Tensor& dtable);

}  // namespace lastbit::ops
