// cuBLASLt's handles, each destroyed with its owner, and one product through it.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <type_traits>

namespace lastbit::cuda {

template <typename Handle, cublasStatus_t (*kDestroy)(Handle)>
struct DestroyHandle {
  void operator()(Handle handle) const { (void)kDestroy(handle); }
};
template <typename Handle, cublasStatus_t (*kDestroy)(Handle)>
using OwnedHandle = std::unique_ptr<std::remove_pointer_t<Handle>, DestroyHandle<Handle, kDestroy>>;

using ProductDescription = OwnedHandle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using MatrixLayout = OwnedHandle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;

// Errors of all of these, with cuBLASLt's status and `what`: kUnsupported where it has no such product on this GPU or
// no room, else kInternal.
void require_cublaslt(cublasStatus_t status, const char* what);
// alpha A^T B of column-major matrices, sums in FP32.
[[nodiscard]] ProductDescription transposed_product();
template <typename T>
void set_attribute(const ProductDescription& product, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  require_cublaslt(cublasLtMatmulDescSetAttribute(product.get(), attribute, &value, sizeof(value)), "an attribute");
}

// d [m, n] = a [m, k] b [n, k]^T, row-major and without padding. cuBLASLt is column-major: what it sees of a row-major
// matrix is its transpose, so its product is D^T = B A^T with B transposed; its "A" is b, its "B" a. By the algorithm
// that its heuristic puts first, on the default stream.
struct LibraryProduct {
  const void* a;
  const void* b;
  void* d;
  cudaDataType_t operands;
  cudaDataType_t output;
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
};
void multiply(const ProductDescription& description, const LibraryProduct& product);

}  // namespace lastbit::cuda
