// Gradients of the layers' operators, as src/ops has them. T is float or std::uint16_t (BF16 codes); everything is
// computed in FP32, every operation rounded, and results are rounded to T. Arrays are the device's, row-major; errors
// as launch().
#pragma once

#include <cstdint>

#include "kernels/layers/layers.h"
#include "kernels/version.h"

namespace lastbit::kernels {

constexpr int kNormRows = 32;  // rows in a partial sum of dweight

// dy, x and dx [tokens, d], weight [d]. With s = 1 / sqrt(mean(x^2) + eps), n = x s and g = dy weight: dx = s (g - n
// mean(g n)). dweight FP32 [d] gets the sum of dy n over rows added to it: rows ascending within blocks of kNormRows,
// from +0, then blocks ascending. Three launches. v0 has the bits of ops::rms_norm_backward() for float; the tuned
// version takes its two sums over a row in the order of block_sum().
template <typename T>
struct RmsNormBackward {
  const T* dy;
  const T* x;
  const T* weight;
  T* dx;
  float* dweight;
  float* factors;   // [tokens]: room for s
  float* partials;  // [ceil(tokens / kNormRows), d]: room
  int tokens;
  int d;
  float eps;
};
template <typename T>
void rms_norm_backward(const RmsNormBackward<T>& call, Version version);

// From the gradient of rope()'s result to that of its argument: the transposed turn, places as before it. dx and dy do
// not overlap. One launch.
template <typename T>
void rope_backward(const T* dy, const float* cosines, const float* sines, const RopeShape& shape, RopeLayout layout,
                   T* dx, Version version);

// With s = sigmoid(gate) and a = gate s: dup = dy a, dgate = dy up (s + a (1 - s)); [count] each, at multiples of 16
// bytes for the tuned version. One launch.
template <typename T>
void swiglu_backward(const T* dy, const T* gate, const T* up, int count, T* dgate, T* dup, Version version);

}  // namespace lastbit::kernels
