// What a model takes as token ids.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace lastbit::model {

// Errors (bad input): ids of another type than i64 or another rank than [B, S], none at all, one outside the
// vocabulary (with its coordinates).
void check_token_ids(const tensor::Tensor& ids, std::int64_t vocabulary);

}  // namespace lastbit::model
