// BF16 products by cuBLASLt, where the toolkit is.
#pragma once

#include <cstdint>

namespace lastbit::cuda {

// d [m, n] = a [m, k] b [n, k]^T of BF16 codes, row-major on the device; d BF16 or FP32; sums in FP32 in whatever order
// cuBLASLt takes. On the default stream. Errors: kUnsupported with cuBLASLt's status.
struct Bf16Gemm {
  const std::uint16_t* a;
  const std::uint16_t* b;
  void* d;
  bool f32_output;
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
};
void bf16_gemm_nt_cublaslt(const Bf16Gemm& gemm);

}  // namespace lastbit::cuda
