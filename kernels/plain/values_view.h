// An array on the device whose elements are FP32 values or BF16 codes.
#pragma once

namespace lastbit::kernels {

struct Values {
  void* data = nullptr;
  bool bf16 = false;
};

}  // namespace lastbit::kernels
