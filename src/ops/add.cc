#include "ops/add.h"

#include "core/error.h"
#include "core/parallel.h"
#include "ops/element_type.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

template <typename T>
void add_into(const T* a, const T* b, std::int64_t count, T* out) {
  core::parallel_for(count, kElementsATask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) out[i] = a[i] + b[i];
  });
}

}  // namespace

tensor::Tensor add(const tensor::Tensor& a, const tensor::Tensor& b) {
  core::check(a.shape() == b.shape() && a.dtype() == b.dtype(), "add: a and b of one shape and type");
  return with_element_type(a.dtype(), "add: a is FP32 or FP64", [&](auto zero) {
    using T = decltype(zero);
    tensor::Tensor result = tensor::Tensor::empty(a.dtype(), a.shape());
    add_into(a.values<T>().data(), b.values<T>().data(), a.size(), result.mutable_values<T>().data());
    return result;
  });
}

void accumulate(tensor::Tensor& target, const tensor::Tensor& x) {
  core::check(target.shape() == x.shape() && target.dtype() == x.dtype(),
              "accumulate: target and x of one shape and type");
  with_element_type(x.dtype(), "accumulate: x is FP32 or FP64", [&](auto zero) {
    using T = decltype(zero);
    T* out = target.mutable_values<T>().data();
    add_into(out, x.values<T>().data(), x.size(), out);
  });
}

}  // namespace lastbit::ops
