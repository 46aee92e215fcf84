#include "kernels/layers/layer_gradients.h"
#include "kernels/numbers/elements.h"
#include "kernels/numbers/values.h"

namespace lastbit::kernels {
namespace {

template <typename T>
struct SwigluGradient {
  static constexpr int kEach = kVectorValues<T>;
  const T* dy;
  const T* gate;
  const T* up;
  T* dgate;
  T* dup;

  // Of one element; `y` becomes that of the gate, `u` that of up.
  __device__ static void differentiate(float& y, float g, float& u) {
    const float share = __fdiv_rn(1, 1 + expf(-g));
    const float active = g * share;
    const float dg = (y * u) * (share + active * (1 - share));
    u = y * active;
    y = dg;
  }
  __device__ void one(std::size_t i) const {
    float y = load_value(dy + i);
    float u = load_value(up + i);
    differentiate(y, load_value(gate + i), u);
    store_value(dgate + i, y);
    store_value(dup + i, u);
  }
  __device__ void vector(std::size_t i) const {
    float y[kEach];
    float g[kEach];
    float u[kEach];
    load_vector(dy + i, y);
    load_vector(gate + i, g);
    load_vector(up + i, u);
#pragma unroll
    for (int j = 0; j < kEach; ++j) differentiate(y[j], g[j], u[j]);
    store_vector(dgate + i, y);
    store_vector(dup + i, u);
  }
};

}  // namespace

template <typename T>
void swiglu_backward(const T* dy, const T* gate, const T* up, int count, T* dgate, T* dup, Version version) {
  launch_elements("swiglu_backward", SwigluGradient<T>{dy, gate, up, dgate, dup}, static_cast<std::size_t>(count),
                  version);
}

template void swiglu_backward<float>(const float* dy, const float* gate, const float* up, int count, float* dgate,
                                     float* dup, Version version);
template void swiglu_backward<std::uint16_t>(const std::uint16_t* dy, const std::uint16_t* gate,
                                             const std::uint16_t* up, int count, std::uint16_t* dgate,
                                             std::uint16_t* dup, Version version);

}  // namespace lastbit::kernels
