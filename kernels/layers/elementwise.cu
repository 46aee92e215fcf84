#include "kernels/layers/elementwise.h"
#include "kernels/numbers/elements.h"
#include "kernels/numbers/values.h"

namespace lastbit::kernels {
namespace {

template <typename T>
struct AddValues {
  static constexpr int kEach = kVectorValues<T>;
  const T* a;
  const T* b;
  T* y;

  __device__ void one(std::size_t i) const { store_value(y + i, load_value(a + i) + load_value(b + i)); }
  __device__ void vector(std::size_t i) const {
    float sum[kEach];
    float other[kEach];
    load_vector(a + i, sum);
    load_vector(b + i, other);
#pragma unroll
    for (int j = 0; j < kEach; ++j) sum[j] += other[j];
    store_vector(y + i, sum);
  }
};

struct ToBf16 {
  static constexpr int kEach = 8;
  const float* x;
  std::uint16_t* y;

  __device__ void one(std::size_t i) const { store_value(y + i, x[i]); }
  __device__ void vector(std::size_t i) const {
    float low[4];
    float high[4];
    load_vector(x + i, low);
    load_vector(x + i + 4, high);
    store_vector(y + i, {low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]});
  }
};

struct ToFp32 {
  static constexpr int kEach = 8;
  const std::uint16_t* x;
  float* y;

  __device__ void one(std::size_t i) const { y[i] = load_value(x + i); }
  __device__ void vector(std::size_t i) const {
    float values[kEach];
    load_vector(x + i, values);
    store_vector(y + i, {values[0], values[1], values[2], values[3]});
    store_vector(y + i + 4, {values[4], values[5], values[6], values[7]});
  }
};

}  // namespace

template <typename T>
void add(const T* a, const T* b, std::size_t count, T* y, Version version) {
  launch_elements("add", AddValues<T>{a, b, y}, count, version);
}
template void add<float>(const float* a, const float* b, std::size_t count, float* y, Version version);
template void add<std::uint16_t>(const std::uint16_t* a, const std::uint16_t* b, std::size_t count, std::uint16_t* y,
                                 Version version);

void to_bf16(const float* x, std::size_t count, std::uint16_t* y, Version version) {
  launch_elements("to_bf16", ToBf16{x, y}, count, version);
}
void to_fp32(const std::uint16_t* x, std::size_t count, float* y, Version version) {
  launch_elements("to_fp32", ToFp32{x, y}, count, version);
}

}  // namespace lastbit::kernels
