// The products of linear layers, alone or one a group of rows as experts are. Arrays are the device's,
// row-major, of any alignment; m and n are at least 1; each function launches one kernel; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

// d [m, n] is the sum over k of
enum class GemmRole : std::uint8_t {
  kNt,  // fprop, y = x w^T:    a [m, k], b [n, k]
  kNn,  // dgrad, dx = dy w:    a [m, k], b [k, n]
  kTn,  // wgrad, dw = dy^T x:  a [k, m], b [k, n]
};

// The sum y is computed in FP32 by the rule of its function. With `accumulate` d holds a value before and RN(d + y)
// after, else y; rounded to BF16 at the end where d is BF16. k = 0 gives +0.
//
// With `offsets` [groups + 1] rows [offsets[g], offsets[g + 1]) belong to group g, from row 0 on, and every group has
// its own weight: kNt: b [groups, n, k]; kNn: b [groups, k, n]; kTn: d [groups, m, n], the rows being those of k. Rows
// beyond offsets[groups] belong to none: theirs are sums of no terms, and kTn does not read them. Without offsets: one
// group.
template <typename T>
struct LinearGemm {
  const T* a;
  const T* b;
  void* d;
  int m;
  int n;
  int k;
  GemmRole role;
  bool bf16_output;  // else FP32
  bool accumulate;
  const std::int64_t* offsets;  // null: no groups
  int groups;                   // 1 without offsets
};
using Fp32Gemm = LinearGemm<float>;
using Bf16Gemm = LinearGemm<std::uint16_t>;  // BF16 codes

// By the rule of numerics/matmul.h: fused multiply-adds in the order of k, in partial sums of 256 that are added in
// order. `accumulate` adds these one by one to d, as matmul() does: with k = 0 none.
void fp32_gemm(const Fp32Gemm& gemm, Version version);

// By mma.sync (m16n8k16) along k, zeros behind its end, from c = 0: the bits of unit ampere_mma on the executor, on a
// GPU those of its tensor core.
void bf16_gemm(const Bf16Gemm& gemm, Version version);

}  // namespace lastbit::kernels
