#include "kernels/plain/sums.h"
#include "kernels/plain/values.h"
#include "kernels/simt/cuda.h"

namespace lastbit::kernels {
namespace {

constexpr unsigned kSumThreads = 128;
constexpr std::size_t kSumEach = 64;  // elements of a thread
constexpr std::size_t kSumBlock = kSumThreads * kSumEach;

// A thread adds every 128th element of a block's piece, the first thread all threads' sums.
__global__ void __launch_bounds__(kSumThreads) square_sum_blocks(const float* x, std::size_t count, double* parts) {
  __shared__ double sums[kSumThreads];
  const std::size_t begin = static_cast<std::size_t>(blockIdx.x) * kSumBlock;
  const std::size_t end = min(begin + kSumBlock, count);
  double sum = 0;
  for (std::size_t i = begin + threadIdx.x; i < end; i += kSumThreads)
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (unsigned i = 1; i < kSumThreads; ++i) sum += sums[i];
  parts[blockIdx.x] = sum;
}

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

std::size_t square_sum_parts(std::size_t count) { return (count + kSumBlock - 1) / kSumBlock; }

void square_sums(const float* x, std::size_t count, double* parts) {
  simt::launch({"square_sums", blocks_of(count, kSumBlock), dim3{kSumThreads, 1, 1}}, square_sum_blocks, x, count,
               parts);
}

void sum_parts(const double* parts, std::size_t count, double* total) {
  simt::launch({"sum_parts", kOne, kOne}, add_parts, parts, count, total);
}

void sum_in_double(const float* x, std::size_t count, double* total) {
  simt::launch({"sum_in_double", kOne, kOne}, add_floats, x, count, total);
}

}  // namespace lastbit::kernels
