#include "kernels/plain/sums.h"
#include "kernels/plain/values.h"
#include "kernels/simt/cuda.h"

namespace lastbit::kernels {
namespace {

// One thread.
__global__ void add_parts(const double* parts, std::size_t count, double* total) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += parts[i];
  *total = sum;
}
__global__ void add_floats(const float* x, std::size_t count, double* total) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]);
  *total = sum;
}

constexpr dim3 kOne{1, 1, 1};

}  // namespace

void sum_parts(const double* parts, std::size_t count, double* total) {
  simt::launch({"sum_parts", kOne, kOne}, add_parts, parts, count, total);
}

void sum_in_double(const float* x, std::size_t count, double* total) {
  simt::launch({"sum_in_double", kOne, kOne}, add_floats, x, count, total);
}

}  // namespace lastbit::kernels
