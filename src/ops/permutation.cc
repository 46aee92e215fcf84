#include "ops/permutation.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/reduce.h"
#include "ops/element_type.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

// The last axis of x, which has `rows` rows.
std::int64_t checked_columns(const Tensor& x, std::int64_t rows, const char* what) {
  core::check(x.rank() == 2 && x.dim(0) == rows, what);
  return x.dim(1);
}

void check_weights(const Tensor& weights, const ExpertPermutation& permutation, const Tensor& outputs) {
  core::check(weights.shape() == tensor::Shape{permutation.tokens, permutation.top_k},
              "combine: weights [tokens, top_k] of the permutation");
  core::check(weights.dtype() == outputs.dtype(), "combine: outputs and weights of one type");
}

// body(token, slot, row) for a token's used slots, experts ascending; first start(token). Tokens in parallel.
template <typename Start, typename Body>
void for_tokens(const ExpertPermutation& permutation, std::int64_t columns, Start start, Body body) {
  core::parallel_for(permutation.tokens, rows_a_task(columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) {
      start(token);
      for (std::int64_t slot = token * permutation.top_k; slot < (token + 1) * permutation.top_k; ++slot) {
        const std::int64_t row = permutation.row_of_slot[static_cast<std::size_t>(slot)];
        if (row >= 0) body(token, slot, row);
      }
    }
  });
}

template <typename T>
Tensor gather(const Tensor& x, const ExpertPermutation& permutation, std::int64_t d) {
  Tensor result = Tensor::empty(x.dtype(), {permutation.rows(), d});
  const T* in = x.values<T>().data();
  T* out = result.mutable_values<T>().data();
  core::parallel_for(permutation.rows(), rows_a_task(d), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t token = permutation.slot_of_row[static_cast<std::size_t>(row)] / permutation.top_k;
      std::copy_n(in + token * d, d, out + row * d);
    }
  });
  return result;
}

template <typename T>
Tensor add_rows(const Tensor& rows, const ExpertPermutation& permutation, std::int64_t d) {
  Tensor result = Tensor::empty(rows.dtype(), {permutation.tokens, d});
  const T* in = rows.values<T>().data();
  T* out = result.mutable_values<T>().data();
  for_tokens(
      permutation, d, [=](std::int64_t token) { std::fill_n(out + token * d, d, T{0}); },
      [=](std::int64_t token, std::int64_t, std::int64_t row) {
        for (std::int64_t i = 0; i < d; ++i) out[token * d + i] += in[row * d + i];
      });
  return result;
}

template <typename T>
Tensor add_weighted_rows(const Tensor& rows, const Tensor& weights, const ExpertPermutation& permutation,
                         std::int64_t d) {
  Tensor result = Tensor::empty(rows.dtype(), {permutation.tokens, d});
  const T* in = rows.values<T>().data();
  const T* weight = weights.values<T>().data();
  T* out = result.mutable_values<T>().data();
  for_tokens(
      permutation, d, [=](std::int64_t token) { std::fill_n(out + token * d, d, T{0}); },
      [=](std::int64_t token, std::int64_t slot, std::int64_t row) {
        const T factor = weight[slot];
        for (std::int64_t i = 0; i < d; ++i) out[token * d + i] += factor * in[row * d + i];
      });
  return result;
}

template <typename T>
CombineGradients combine_gradients(const Tensor& dy, const Tensor& outputs, const Tensor& weights,
                                   const ExpertPermutation& permutation, std::int64_t d) {
  CombineGradients result{Tensor::empty(dy.dtype(), outputs.shape()), Tensor::zeros(dy.dtype(), weights.shape())};
  const T* up = dy.values<T>().data();
  const T* in = outputs.values<T>().data();
  const T* weight = weights.values<T>().data();
  T* doutputs = result.doutputs.mutable_values<T>().data();
  T* dweights = result.dweights.mutable_values<T>().data();
  for_tokens(
      permutation, d, [](std::int64_t) {},
      [=](std::int64_t token, std::int64_t slot, std::int64_t row) {
        const T factor = weight[slot];
        for (std::int64_t i = 0; i < d; ++i) doutputs[row * d + i] = factor * up[token * d + i];
        dweights[slot] = numerics::dot(up + token * d, in + row * d, d);
      });
  return result;
}

}  // namespace

ExpertPermutation expert_permutation(const Tensor& routing, std::int64_t experts) {
  core::check(routing.rank() == 2 && experts > 0, "expert_permutation: routing [tokens, top_k] of at least one expert");
  const auto chosen = routing.values<std::int64_t>();
  ExpertPermutation result;
  result.tokens = routing.dim(0);
  result.top_k = routing.dim(1);
  result.offsets.assign(static_cast<std::size_t>(experts) + 1, 0);
  std::int64_t previous = -1;
  for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
    if (static_cast<std::int64_t>(slot) % result.top_k == 0) previous = -1;
    if (chosen[slot] == -1) continue;
    core::check(chosen[slot] >= 0 && chosen[slot] < experts, "expert_permutation: routing names experts, or -1");
    core::check(chosen[slot] > previous, "expert_permutation: routing's experts ascend within a token");
    previous = chosen[slot];
    ++result.offsets[static_cast<std::size_t>(chosen[slot]) + 1];
  }
  std::partial_sum(result.offsets.begin(), result.offsets.end(), result.offsets.begin());

  std::vector<std::int64_t> next(result.offsets.begin(), result.offsets.end() - 1);
  result.slot_of_row.resize(static_cast<std::size_t>(result.offsets.back()));
  result.row_of_slot.assign(chosen.size(), -1);
  for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
    if (chosen[slot] == -1) continue;
    const std::int64_t row = next[static_cast<std::size_t>(chosen[slot])]++;
    result.slot_of_row[static_cast<std::size_t>(row)] = static_cast<std::int64_t>(slot);
    result.row_of_slot[slot] = row;
  }
  return result;
}

Tensor dispatch(const Tensor& x, const ExpertPermutation& permutation) {
  const std::int64_t d = checked_columns(x, permutation.tokens, "dispatch: x [tokens, d] of the permutation");
  return with_element_type(x.dtype(), "dispatch: x is FP32 or FP64",
                           [&](auto zero) { return gather<decltype(zero)>(x, permutation, d); });
}

Tensor dispatch_backward(const Tensor& dx_rows, const ExpertPermutation& permutation) {
  const std::int64_t d =
      checked_columns(dx_rows, permutation.rows(), "dispatch_backward: dx_rows [rows, d] of the permutation");
  return with_element_type(dx_rows.dtype(), "dispatch_backward: dx_rows is FP32 or FP64",
                           [&](auto zero) { return add_rows<decltype(zero)>(dx_rows, permutation, d); });
}

Tensor combine(const Tensor& outputs, const Tensor& weights, const ExpertPermutation& permutation) {
  const std::int64_t d = checked_columns(outputs, permutation.rows(), "combine: outputs [rows, d] of the permutation");
  check_weights(weights, permutation, outputs);
  return with_element_type(outputs.dtype(), "combine: outputs is FP32 or FP64", [&](auto zero) {
    return add_weighted_rows<decltype(zero)>(outputs, weights, permutation, d);
  });
}

CombineGradients combine_backward(const Tensor& dy, const Tensor& outputs, const Tensor& weights,
                                  const ExpertPermutation& permutation) {
  const std::int64_t d =
      checked_columns(outputs, permutation.rows(), "combine_backward: outputs [rows, d] of the permutation");
  check_weights(weights, permutation, outputs);
  core::check(dy.shape() == tensor::Shape{permutation.tokens, d} && dy.dtype() == outputs.dtype(),
              "combine_backward: dy [tokens, d] of outputs' type");
  return with_element_type(outputs.dtype(), "combine_backward: outputs is FP32 or FP64", [&](auto zero) {
    return combine_gradients<decltype(zero)>(dy, outputs, weights, permutation, d);
  });
}

}  // namespace lastbit::ops
