// Kernels that executor_bench runs: d from a and b, arrays of the executor's device.
#pragma once

namespace lastbit::bench {

namespace checked {
void run_multiply(const float* a, const float* b, float* d, int n);  // [n, n] each
void run_add(const float* a, const float* b, float* d, int n);       // [n] each
void run_sum(const float* a, const float* b, float* d, int n);       // d [n / 32]: sums of 32; b is not read
}  // namespace checked
namespace unchecked {
void run_multiply(const float* a, const float* b, float* d, int n);
void run_add(const float* a, const float* b, float* d, int n);
void run_sum(const float* a, const float* b, float* d, int n);
}  // namespace unchecked

}  // namespace lastbit::bench
