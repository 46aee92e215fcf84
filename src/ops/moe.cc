#include "ops/moe.h"

#include <algorithm>

#include "core/error.h"
#include "core/parallel.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

// Rows of x [tokens, d] in the order of `slots`, slot = token * top_k + place.
tensor::Tensor gather(const ConstMatrix& x, const std::vector<std::int64_t>& slots, std::int64_t top_k) {
  tensor::Tensor rows =
      tensor::Tensor::empty(tensor::DType::kF32, {static_cast<std::int64_t>(slots.size()), x.columns});
  float* target = rows.mutable_values<float>().data();
  for (const std::int64_t slot : slots) target = std::copy_n(x.row(slot / top_k), x.columns, target);
  return rows;
}

}  // namespace

tensor::Tensor routed_experts(const tensor::Tensor& x, const Routing& routing,
                              const std::vector<SwigluWeights>& experts, const Numerics& numerics) {
  const ConstMatrix in = as_matrix(x);
  const std::int64_t top_k = routing.experts.dim(1);
  core::check(routing.experts.dim(0) == in.rows, "routed_experts: a routing of these tokens");
  std::vector<std::vector<std::int64_t>> slots_of(experts.size());
  const auto chosen = routing.experts.values<std::int64_t>();
  for (std::size_t slot = 0; slot < chosen.size(); ++slot)
    slots_of.at(static_cast<std::size_t>(chosen[slot])).push_back(static_cast<std::int64_t>(slot));

  std::vector<float> outputs(chosen.size() * static_cast<std::size_t>(in.columns));  // [tokens, top_k, d]
  for (std::size_t e = 0; e < experts.size(); ++e) {
    if (slots_of[e].empty()) continue;
    const tensor::Tensor result = swiglu_ffn(gather(in, slots_of[e], top_k), experts[e], numerics);
    const float* source = result.values<float>().data();
    for (const std::int64_t slot : slots_of[e]) {
      std::copy_n(source, in.columns, outputs.data() + slot * in.columns);
      source += in.columns;
    }
  }

  tensor::Tensor sum = tensor::Tensor::zeros(tensor::DType::kF32, x.shape());
  float* out = sum.mutable_values<float>().data();
  const float* weights = routing.weights.values<float>().data();
  core::parallel_for(in.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t slot = begin * top_k; slot < end * top_k; ++slot) {  // experts ascend within a token
      const float* source = outputs.data() + slot * in.columns;
      float* target = out + slot / top_k * in.columns;
      for (std::int64_t i = 0; i < in.columns; ++i) target[i] += weights[slot] * source[i];
    }
  });
  return sum;
}

tensor::Tensor add(const tensor::Tensor& a, const tensor::Tensor& b) {
  core::check(a.shape() == b.shape(), "add: one shape");
  const auto x = a.values<float>();
  const auto y = b.values<float>();
  tensor::Tensor result = tensor::Tensor::empty(tensor::DType::kF32, a.shape());
  const auto out = result.mutable_values<float>();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = x[i] + y[i];
  return result;
}

}  // namespace lastbit::ops
