// Copies that a thread does not wait for: cp.async of 16 bytes (sm_80), and tiles of a matrix by TMA (sm_90).
#pragma once

#include <cstdint>

#include "kernels/arch/shared_address.h"

#if defined(__CUDACC__)
#include <cuda.h>
#endif

namespace lastbit::arch {

// A row-major matrix [rows, cols] of bytes as TMA sees it, for boxes of [box_rows, box_cols], box_cols <= 128. What of
// a box lies outside of the matrix arrives as zeros. With `swizzle` box_cols is 128, and boxes lie in shared memory
// through swizzle_128(), each at a multiple of 1024 bytes.
struct TileShape {
  std::uint64_t rows;
  std::uint64_t cols;  // a multiple of 16, as the matrix's address is
  unsigned box_rows;
  unsigned box_cols;
  bool swizzle;
};

#if defined(__CUDACC__)
using TensorMap = CUtensorMap;
#else
struct TensorMap {
  const unsigned char* base;
  TileShape shape;
};
#endif

// Errors: bad input for a shape that TMA does not take; kUnsupported where the driver refuses it.
[[nodiscard]] TensorMap make_tensor_map(const void* matrix, const TileShape& shape);

#if defined(__CUDACC__)
// Of `bytes` (0 to 16) from `from`, the rest of the 16 zeros.
__device__ inline void cp_async_16(void* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
               : "memory");
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most kLeft groups of this thread, the youngest, may be under way. Others see the bytes after a barrier.
template <int kLeft>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}
// The box that begins at (row, col), by one thread; the mbarrier is told its bytes when they are there.
__device__ inline void tma_load(void* to, const TensorMap* map, std::uint64_t* barrier, int row, int col) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
          shared_address(to)),
      "l"(map), "r"(col), "r"(row), "r"(shared_address(barrier))
      : "memory");
#endif
}
#else
void cp_async_16(void* to, const void* from, int bytes);
void cp_async_commit();
void cp_async_wait(int left);
template <int kLeft>
void cp_async_wait() {
  cp_async_wait(kLeft);
}
void tma_load(void* to, const TensorMap* map, std::uint64_t* barrier, int row, int col);
#endif

}  // namespace lastbit::arch
