// Operators exist once as a template over their elements; this picks the instance for a tensor.
#pragma once

#include "core/error.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// body(float{}) or body(double{}), after the type of the elements. Errors: any other dtype is an internal error with
// the text `what`, such as "rms_norm: FP32 or FP64".
template <typename Body>
auto with_element_type(tensor::DType dtype, const char* what, Body body) {
  core::check(dtype == tensor::DType::kF32 || dtype == tensor::DType::kF64, what);
  return dtype == tensor::DType::kF64 ? body(double{}) : body(float{});
}

}  // namespace lastbit::ops
