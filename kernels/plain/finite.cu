#include "kernels/plain/finite.h"
#include "kernels/plain/values.h"
#include "kernels/simt/cuda.h"

namespace lastbit::kernels {
namespace {

constexpr unsigned kFiniteThreads = 128;

__global__ void replace_elements(float* x, std::size_t count, unsigned long long* count_of) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count || (__float_as_uint(x[i]) & 0x7f800000U) != 0x7f800000U) return;
  x[i] = 0;
  atomicAdd(count_of, 1ULL);
}

}  // namespace

void replace_non_finite(float* x, std::size_t count, std::int64_t* count_of) {
  simt::launch({"replace_non_finite", blocks_of(count, kFiniteThreads), dim3{kFiniteThreads, 1, 1}}, replace_elements,
               x, count, reinterpret_cast<unsigned long long*>(count_of));
}

}  // namespace lastbit::kernels
