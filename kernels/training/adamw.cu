#include "kernels/numbers/bf16.h"
#include "kernels/training/training.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kElements = 4;  // a thread, of the tuned kernel

struct Element {
  float weight;
  std::uint16_t first;
  std::uint16_t second;
};

// One element, operation by operation as train/adamw_loop.cc.
__device__ Element step_element(const Element& old, float unscaled, const AdamwFactors& f) {
  const float gradient = unscaled * f.gradient_scale;
  const float m = f.beta1 * bf16_value(old.first) + f.one_less_beta1 * gradient;
  const float v = f.beta2 * bf16_value(old.second) + f.one_less_beta2 * gradient * gradient;
  const std::uint16_t first = bf16_code(m);
  const std::uint16_t second = bf16_code(v);
  const float used_m = f.from_rounded ? bf16_value(first) : m;
  const float used_v = f.from_rounded ? bf16_value(second) : v;
  const float spread = __fdiv_rn(__fsqrt_rn(used_v), f.second_correction) + f.epsilon;
  return {old.weight * f.decay - __fdiv_rn(f.step_size * used_m, spread), first, second};
}

// v0: one thread an element.
__global__ void adamw_v0(AdamwArrays arrays, AdamwFactors factors) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= arrays.count) return;
  const Element next =
      step_element({arrays.weights[i], arrays.first[i], arrays.second[i]}, arrays.gradient[i], factors);
  arrays.new_weights[i] = next.weight;
  arrays.new_first[i] = next.first;
  arrays.new_second[i] = next.second;
}

__device__ std::uint16_t half_of(unsigned pair, int which) {
  return static_cast<std::uint16_t>(which == 0 ? pair & 0xffffU : pair >> 16);
}

// Four elements a thread in loads of 16 and 8 bytes; the last ones alone.
__global__ void __launch_bounds__(kThreads) adamw_vectors(AdamwArrays arrays, AdamwFactors factors) {
  const int begin = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kElements;
  if (begin + kElements > arrays.count) {
    for (int i = begin; i < arrays.count; ++i) {
      const Element next =
          step_element({arrays.weights[i], arrays.first[i], arrays.second[i]}, arrays.gradient[i], factors);
      arrays.new_weights[i] = next.weight;
      arrays.new_first[i] = next.first;
      arrays.new_second[i] = next.second;
    }
    return;
  }
  const float4 w = *reinterpret_cast<const float4*>(arrays.weights + begin);
  const float4 g = *reinterpret_cast<const float4*>(arrays.gradient + begin);
  const uint2 m = *reinterpret_cast<const uint2*>(arrays.first + begin);
  const uint2 v = *reinterpret_cast<const uint2*>(arrays.second + begin);
  const Element a = step_element({w.x, half_of(m.x, 0), half_of(v.x, 0)}, g.x, factors);
  const Element b = step_element({w.y, half_of(m.x, 1), half_of(v.x, 1)}, g.y, factors);
  const Element c = step_element({w.z, half_of(m.y, 0), half_of(v.y, 0)}, g.z, factors);
  const Element d = step_element({w.w, half_of(m.y, 1), half_of(v.y, 1)}, g.w, factors);
  const auto pair = [](std::uint16_t low, std::uint16_t high) { return unsigned{low} | unsigned{high} << 16; };
  *reinterpret_cast<float4*>(arrays.new_weights + begin) = float4{a.weight, b.weight, c.weight, d.weight};
  *reinterpret_cast<uint2*>(arrays.new_first + begin) = uint2{pair(a.first, b.first), pair(c.first, d.first)};
  *reinterpret_cast<uint2*>(arrays.new_second + begin) = uint2{pair(a.second, b.second), pair(c.second, d.second)};
}

}  // namespace

void adamw(const AdamwArrays& arrays, const AdamwFactors& factors, Version version) {
  const int each = version == Version::kObvious ? kThreads : kThreads * kElements;
  const dim3 grid{static_cast<unsigned>((arrays.count + each - 1) / each), 1, 1};
  simt::launch({"adamw", grid, dim3{kThreads, 1, 1}}, version == Version::kObvious ? adamw_v0 : adamw_vectors, arrays,
               factors);
}

}  // namespace lastbit::kernels
