#include "kernels/cuda/bf16_gemm_nt_cublaslt.h"

#include <cublasLt.h>

#include <memory>
#include <string>
#include <type_traits>

#include "kernels/cuda/fail.h"

namespace lastbit::cuda {
namespace {

void require_success(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(std::string("cuBLASLt: ") + what, cublasGetStatusString(status));
}

template <typename Handle, cublasStatus_t (*kDestroy)(Handle)>
struct Destroy {
  void operator()(Handle handle) const { (void)kDestroy(handle); }
};
template <typename Handle, cublasStatus_t (*kDestroy)(Handle)>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<Handle, kDestroy>>;

using Library = Owned<cublasLtHandle_t, cublasLtDestroy>;
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;

cublasLtHandle_t library() {
  static const Library handle = [] {
    cublasLtHandle_t made = nullptr;
    require_success(cublasLtCreate(&made), "no handle");
    return Library(made);
  }();
  return handle.get();
}

// A column-major matrix without padding.
Layout layout_of(cudaDataType_t type, std::int64_t rows, std::int64_t cols) {
  cublasLtMatrixLayout_t made = nullptr;
  require_success(
      cublasLtMatrixLayoutCreate(&made, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols), rows),
      "a matrix");
  return Layout(made);
}

}  // namespace

// cuBLASLt is column-major: what it sees of a row-major matrix is its transpose, so D^T = B A^T with B transposed.
void bf16_gemm_nt_cublaslt(const Bf16Gemm& gemm) {
  cublasLtMatmulDesc_t made = nullptr;
  require_success(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product");
  const Description description(made);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  require_success(
      cublasLtMatmulDescSetAttribute(description.get(), CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)),
      "a transposed operand");
  const Layout b = layout_of(CUDA_R_16BF, gemm.k, gemm.n);
  const Layout a = layout_of(CUDA_R_16BF, gemm.k, gemm.m);
  const Layout d = layout_of(gemm.f32_output ? CUDA_R_32F : CUDA_R_16BF, gemm.n, gemm.m);
  const float one = 1;
  const float zero = 0;
  require_success(cublasLtMatmul(library(), description.get(), &one, gemm.b, b.get(), gemm.a, a.get(), &zero, gemm.d,
                                 d.get(), gemm.d, d.get(), nullptr, nullptr, 0, nullptr),
                  "the product");
}

}  // namespace lastbit::cuda
