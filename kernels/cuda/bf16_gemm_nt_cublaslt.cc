#include "kernels/cuda/bf16_gemm_nt_cublaslt.h"

#include "kernels/cuda/cublaslt.h"

namespace lastbit::cuda {

void bf16_gemm_nt_cublaslt(const Bf16Gemm& gemm) {
  multiply(transposed_product(),
           {gemm.a, gemm.b, gemm.d, CUDA_R_16BF, gemm.f32_output ? CUDA_R_32F : CUDA_R_16BF, gemm.m, gemm.n, gemm.k});
}

}  // namespace lastbit::cuda
