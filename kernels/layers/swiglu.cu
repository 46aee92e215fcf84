#include "kernels/layers/layers.h"
#include "kernels/numbers/bf16.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kElements = 8;  // of 16 bytes

__device__ std::uint16_t swiglu_code(std::uint16_t gate, std::uint16_t up) {
  const float g = bf16_value(gate);
  return bf16_code(g / (1 + expf(-g)) * bf16_value(up));
}

// v0: one thread an element.
__global__ void swiglu_v0(const std::uint16_t* gate, const std::uint16_t* up, int count, std::uint16_t* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) y[i] = swiglu_code(gate[i], up[i]);
}

__device__ unsigned swiglu_pair(unsigned gate, unsigned up) {
  const unsigned low =
      swiglu_code(static_cast<std::uint16_t>(gate & 0xffffU), static_cast<std::uint16_t>(up & 0xffffU));
  const unsigned high = swiglu_code(static_cast<std::uint16_t>(gate >> 16), static_cast<std::uint16_t>(up >> 16));
  return low | high << 16;
}

// Eight elements a thread, in loads and stores of 16 bytes; what is left at the end by single ones.
__global__ void __launch_bounds__(kThreads)
    swiglu_vectors(const std::uint16_t* gate, const std::uint16_t* up, int count, std::uint16_t* y) {
  const int first = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kElements;
  if (first + kElements <= count) {
    const uint4 g = *reinterpret_cast<const uint4*>(gate + first);
    const uint4 u = *reinterpret_cast<const uint4*>(up + first);
    *reinterpret_cast<uint4*>(y + first) =
        uint4{swiglu_pair(g.x, u.x), swiglu_pair(g.y, u.y), swiglu_pair(g.z, u.z), swiglu_pair(g.w, u.w)};
    return;
  }
  for (int i = first; i < count; ++i) y[i] = swiglu_code(gate[i], up[i]);
}

}  // namespace

void swiglu(const std::uint16_t* gate, const std::uint16_t* up, int count, std::uint16_t* y, Version version) {
  const int each = version == Version::kObvious ? 1 : kElements;
  const int threads = (count + each - 1) / each;
  simt::launch({"swiglu", dim3{static_cast<unsigned>((threads + kThreads - 1) / kThreads), 1, 1}, dim3{kThreads, 1, 1}},
               version == Version::kObvious ? swiglu_v0 : swiglu_vectors, gate, up, count, y);
}

}  // namespace lastbit::kernels
