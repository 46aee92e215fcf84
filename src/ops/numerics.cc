#include "ops/numerics.h"

#include "core/parallel.h"
#include "numerics/bf16.h"

namespace lastbit::ops {

tensor::DType value_dtype(const Numerics& numerics) {
  return numerics.values == Values::kF64 ? tensor::DType::kF64 : tensor::DType::kF32;
}

void settle(tensor::Tensor& x, const Numerics& numerics) {
  if (numerics.values != Values::kBF16) return;
  const auto values = x.mutable_values<float>();
  core::parallel_for(x.size(), 1 << 15, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      values[i] = numerics::round_bf16(values[i]);
  });
}

}  // namespace lastbit::ops
