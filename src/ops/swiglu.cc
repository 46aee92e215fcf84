#include "ops/swiglu.h"

#include <algorithm>
#include <array>
#include <span>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary_array.h"
#include "ops/element_type.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

constexpr std::int64_t kActivationsATask = 4096;
constexpr std::int64_t kBuffer = 512;  // elements whose silu and sigmoid are at hand at once: they stay in the L1 cache

template <typename T>
using Buffer = std::array<T, kBuffer>;

template <typename T>
std::span<const T> stretch(const T* x, std::int64_t first, std::int64_t count) {
  return {x + first, static_cast<std::size_t>(count)};
}
template <typename T>
std::span<T> stretch(Buffer<T>& buffer, std::int64_t count) {
  return {buffer.data(), static_cast<std::size_t>(count)};
}

// body(first, count) for consecutive stretches of at most kBuffer elements.
template <typename Body>
void for_stretches(std::int64_t size, Body body) {
  core::parallel_for(size, kActivationsATask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += kBuffer) body(first, std::min(kBuffer, end - first));
  });
}

template <typename T>
Tensor gated_forward(const Tensor& gate, const Tensor& up) {
  const T* g = gate.values<T>().data();
  const T* u = up.values<T>().data();
  Tensor result = Tensor::empty(gate.dtype(), gate.shape());
  T* y = result.mutable_values<T>().data();
  for_stretches(gate.size(), [=](std::int64_t first, std::int64_t count) {
    Buffer<T> activated;
    numerics::silu(stretch(g, first, count), stretch(activated, count));
    for (std::int64_t i = 0; i < count; ++i) y[first + i] = activated[static_cast<std::size_t>(i)] * u[first + i];
  });
  return result;
}

template <typename T>
SwigluGradients gated_backward(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  const T* upstream = dy.values<T>().data();
  const T* g = gate.values<T>().data();
  const T* u = up.values<T>().data();
  SwigluGradients result{Tensor::empty(gate.dtype(), gate.shape()), Tensor::empty(gate.dtype(), gate.shape())};
  T* dgate = result.dgate.mutable_values<T>().data();
  T* dup = result.dup.mutable_values<T>().data();
  for_stretches(gate.size(), [=](std::int64_t first, std::int64_t count) {
    Buffer<T> activated;
    Buffer<T> share;
    numerics::silu(stretch(g, first, count), stretch(activated, count));
    numerics::sigmoid(stretch(g, first, count), stretch(share, count));
    for (std::int64_t i = 0; i < count; ++i) {
      const T a = activated[static_cast<std::size_t>(i)];
      const T s = share[static_cast<std::size_t>(i)];
      dup[first + i] = upstream[first + i] * a;
      dgate[first + i] = (upstream[first + i] * u[first + i]) * (s + a * (1 - s));
    }
  });
  return result;
}

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  core::check(gate.shape() == up.shape() && gate.dtype() == up.dtype(), "swiglu: gate and up of one shape and type");
  return with_element_type(gate.dtype(), "swiglu: gate is FP32 or FP64",
                           [&](auto zero) { return gated_forward<decltype(zero)>(gate, up); });
}

SwigluGradients swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  core::check(gate.shape() == up.shape() && gate.dtype() == up.dtype() && dy.shape() == gate.shape() &&
                  dy.dtype() == gate.dtype(),
              "swiglu_backward: dy, gate and up of one shape and type");
  return with_element_type(gate.dtype(), "swiglu_backward: gate is FP32 or FP64",
                           [&](auto zero) { return gated_backward<decltype(zero)>(dy, gate, up); });
}

}  // namespace lastbit::ops
