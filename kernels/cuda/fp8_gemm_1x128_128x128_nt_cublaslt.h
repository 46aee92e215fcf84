// FP8 products with scales of blocks by cuBLASLt, where the toolkit has them: CUDA 12.9 and later, on Hopper.
#pragma once

#include <cstdint>
#include <string>

namespace lastbit::cuda {

// d [m, n] = a [m, k] b [n, k]^T of E4M3 codes, row-major on the device, with a scale for 1 x 128 of A (scale_a
// [m, k / 128]) and 128 x 128 of B (scale_b [ceil(n / 128), k / 128]); d BF16 or FP32. cuBLASLt's order of additions.
// The scales are brought into its layout first, by a kernel. On the default stream. Errors: kUnsupported with
// cuBLASLt's status.
struct Fp8BlockGemm {
  const std::uint8_t* a;
  const std::uint8_t* b;
  const float* scale_a;
  const float* scale_b;
  void* d;
  bool f32_output;
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
};
void fp8_gemm_1x128_128x128_nt_cublaslt(const Fp8BlockGemm& gemm);

// Why these sizes are none of its own; empty: they are.
[[nodiscard]] std::string refuse_fp8_gemm_1x128_128x128_nt_cublaslt(std::int64_t m, std::int64_t n, std::int64_t k);

}  // namespace lastbit::cuda
