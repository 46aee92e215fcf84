// Scales of an FP8 product in the layout that cuBLASLt reads.
#pragma once

#include <cstdint>

namespace lastbit::kernels {

// Of a product [m, k] x [n, k]^T, k a multiple of 128.
struct CublasltScales {
  int m;
  int n;
  int k;

  [[nodiscard]] int blocks_k() const { return k / 128; }
  [[nodiscard]] int blocks_n() const { return (n + 127) / 128; }
  [[nodiscard]] int stride_b() const { return (blocks_k() + 3) / 4 * 4; }  // floats of a row of blocks
  [[nodiscard]] std::int64_t count_a() const { return std::int64_t{m} * blocks_k(); }
  [[nodiscard]] std::int64_t count_b() const { return std::int64_t{blocks_n()} * stride_b(); }
};

// from_a [m, k / 128] becomes to_a [k / 128, m] (one block of K after the other), from_b [n / 128, k / 128] becomes
// to_b with rows of stride_b() floats, the last of which are 0. Source: cuBLAS documentation, scaling of 1 x 128 and
// 128 x 128 blocks; PyTorch's checks of the same operands. Errors: as simt::launch().
void scales_for_cublaslt(const CublasltScales& scales, const float* from_a, const float* from_b, float* to_a,
                         float* to_b);

}  // namespace lastbit::kernels
