#include "ops/rms_norm.h"

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"
#include "numerics/reduce.h"
#include "ops/matrix.h"

namespace lastbit::ops {

tensor::Tensor rms_norm(const tensor::Tensor& x, const tensor::Tensor& weight, double eps) {
  const ConstMatrix in = as_matrix(x);
  core::check(weight.size() == in.columns, "rms_norm: weight [d]");
  const float* gain = weight.values<float>().data();
  tensor::Tensor result = tensor::Tensor::empty(tensor::DType::kF32, x.shape());
  float* out = result.mutable_values<float>().data();
  const auto count = static_cast<float>(in.columns);
  const auto offset = static_cast<float>(eps);
  core::parallel_for(in.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* row = in.row(r);
      const float scale = numerics::rsqrt(numerics::sum_of_squares(row, in.columns) / count + offset);
      for (std::int64_t i = 0; i < in.columns; ++i) out[r * in.columns + i] = gain[i] * (row[i] * scale);
    }
  });
  return result;
}

}  // namespace lastbit::ops
