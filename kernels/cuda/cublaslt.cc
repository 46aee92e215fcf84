#include "kernels/cuda/cublaslt.h"

#include <string>

#include "kernels/cuda/fail.h"
#include "kernels/simt/device_array.h"

namespace lastbit::cuda {
namespace {

using Library = OwnedHandle<cublasLtHandle_t, cublasLtDestroy>;
using Preference = OwnedHandle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what NVIDIA recommends for Hopper

cublasLtHandle_t library() {
  static const Library handle = [] {
    cublasLtHandle_t made = nullptr;
    require_cublaslt(cublasLtCreate(&made), "no handle");
    return Library(made);
  }();
  return handle.get();
}

void* workspace() {
  static const simt::DeviceMemory memory("the workspace of cuBLASLt", kWorkspaceBytes);
  return memory.data();
}

// A column-major matrix without padding.
MatrixLayout layout_of(cudaDataType_t type, std::int64_t rows, std::int64_t cols) {
  cublasLtMatrixLayout_t made = nullptr;
  require_cublaslt(
      cublasLtMatrixLayoutCreate(&made, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols), rows),
      "a matrix");
  return MatrixLayout(made);
}

Preference within_workspace() {
  cublasLtMatmulPreference_t made = nullptr;
  require_cublaslt(cublasLtMatmulPreferenceCreate(&made), "a preference");
  Preference preference(made);
  require_cublaslt(cublasLtMatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                        &kWorkspaceBytes, sizeof(kWorkspaceBytes)),
                   "a preference");
  return preference;
}

}  // namespace

void require_cublaslt(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string text = std::string("cuBLASLt: ") + what;
  const bool of_machine = status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH ||
                          status == CUBLAS_STATUS_ALLOC_FAILED || status == CUBLAS_STATUS_NOT_INITIALIZED;
  if (of_machine) fail(text, cublasGetStatusString(status));
  fail_as_bug(text, cublasGetStatusString(status));
}

ProductDescription transposed_product() {
  cublasLtMatmulDesc_t made = nullptr;
  require_cublaslt(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product");
  ProductDescription description(made);
  set_attribute(description, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  return description;
}

void multiply(const ProductDescription& description, const LibraryProduct& product) {
  const MatrixLayout b = layout_of(product.operands, product.k, product.n);
  const MatrixLayout a = layout_of(product.operands, product.k, product.m);
  const MatrixLayout d = layout_of(product.output, product.n, product.m);
  const Preference preference = within_workspace();
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  require_cublaslt(cublasLtMatmulAlgoGetHeuristic(library(), description.get(), b.get(), a.get(), d.get(), d.get(),
                                                  preference.get(), 1, &best, &found),
                   "no algorithm");
  if (found == 0) fail("cuBLASLt", "it has no algorithm for this product on this GPU");
  const float one = 1;
  const float zero = 0;
  require_cublaslt(
      cublasLtMatmul(library(), description.get(), &one, product.b, b.get(), product.a, a.get(), &zero, product.d,
                     d.get(), product.d, d.get(), &best.algo, workspace(), kWorkspaceBytes, nullptr),
      "the product");
}

}  // namespace lastbit::cuda
