#include "ops/swiglu.h"

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"
#include "ops/linear.h"

namespace lastbit::ops {

tensor::Tensor swiglu(const tensor::Tensor& gate, const tensor::Tensor& up) {
  core::check(gate.shape() == up.shape(), "swiglu: gate and up of one shape");
  const auto g = gate.values<float>();
  const auto u = up.values<float>();
  tensor::Tensor result = tensor::Tensor::empty(tensor::DType::kF32, gate.shape());
  const auto out = result.mutable_values<float>();
  core::parallel_for(result.size(), 4096, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      out[i] = numerics::silu(g[i]) * u[i];
  });
  return result;
}

tensor::Tensor swiglu_ffn(const tensor::Tensor& x, const SwigluWeights& weights, const Numerics& numerics) {
  return linear(swiglu(linear(x, weights.gate, numerics), linear(x, weights.up, numerics)), weights.down, numerics);
}

}  // namespace lastbit::ops
