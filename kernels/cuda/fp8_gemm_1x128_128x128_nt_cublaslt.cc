#include "kernels/cuda/fp8_gemm_1x128_128x128_nt_cublaslt.h"

#include <cuda_runtime_api.h>

#include <memory>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/fail.h"
#include "kernels/gemm/cublaslt_scales.h"
#include "kernels/simt/device_array.h"

namespace lastbit::cuda {
namespace {

constexpr bool kHasBlockScales = CUDART_VERSION >= 12090;

// Room for scales that stays, so that a product that is timed allocates nothing.
float* scale_room(std::unique_ptr<simt::DeviceMemory>& room, std::int64_t count) {
  const auto bytes = static_cast<std::size_t>(count) * sizeof(float);
  if (!room || room->bytes() < bytes) room = std::make_unique<simt::DeviceMemory>("scales for cuBLASLt", bytes);
  return static_cast<float*>(room->data());
}

}  // namespace

std::string refuse_fp8_gemm_1x128_128x128_nt_cublaslt(std::int64_t m, std::int64_t n, std::int64_t k) {
  if (!kHasBlockScales) return "cuBLASLt has scales of blocks from CUDA 12.9 on";
  // Rows of 16 bytes for FP32 scales of A and for FP8 operands; its scales end where blocks of K do.
  const bool fits = m % 4 == 0 && n % 16 == 0 && k % 128 == 0;
  return fits ? "" : "it takes M a multiple of 4, N of 16 and K of 128";
}

#if CUDART_VERSION >= 12090
void fp8_gemm_1x128_128x128_nt_cublaslt(const Fp8BlockGemm& gemm) {
  static std::unique_ptr<simt::DeviceMemory> room_a;
  static std::unique_ptr<simt::DeviceMemory> room_b;
  const kernels::CublasltScales scales{static_cast<int>(gemm.m), static_cast<int>(gemm.n), static_cast<int>(gemm.k)};
  float* const scale_a = scale_room(room_a, scales.count_a());
  float* const scale_b = scale_room(room_b, scales.count_b());
  kernels::scales_for_cublaslt(scales, gemm.scale_a, gemm.scale_b, scale_a, scale_b);
  const ProductDescription description = transposed_product();
  // What is "A" to cuBLASLt is b, and the other way round (cublaslt.h).
  set_attribute(description, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F);
  set_attribute(description, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F);
  set_attribute(description, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, static_cast<const void*>(scale_b));
  set_attribute(description, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, static_cast<const void*>(scale_a));
  multiply(description, {gemm.a, gemm.b, gemm.d, CUDA_R_8F_E4M3, gemm.f32_output ? CUDA_R_32F : CUDA_R_16BF, gemm.m,
                         gemm.n, gemm.k});
}
#else
void fp8_gemm_1x128_128x128_nt_cublaslt(const Fp8BlockGemm& /*gemm*/) {
  fail("cuBLASLt", "this toolkit has no scales of blocks: CUDA 12.9 brought them");
}
#endif

}  // namespace lastbit::cuda
