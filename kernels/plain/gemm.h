// Products of matrices of FP32 values or BF16 codes, in FP32: each output is one chain of fused multiply-adds along K,
// ascending, from +0, the order of numerics/matmul.h. Arrays are the device's; each function launches one kernel;
// errors as launch().
#pragma once

#include <cstdint>

#include "kernels/plain/values_view.h"

namespace lastbit::kernels {

// Element (i, j) at i * row_stride + j * col_stride: a transposed matrix swaps the two.
struct MatrixView {
  Values values;
  std::int64_t row_stride;
  std::int64_t col_stride;
};

// d [m, n], row-major with `d_stride` between rows, = a [m, k] times b [k, n]; with `add` that is added to what d
// holds.
struct PlainGemm {
  MatrixView a;
  MatrixView b;
  Values d;
  std::int64_t d_stride;
  int m;
  int n;
  int k;
  bool add = false;
};
void plain_gemm(const PlainGemm& call);

// Rows by group: those from offsets[g] to offsets[g + 1] (offsets [groups + 1], on the device) are group g's.
struct GroupedRows {
  const std::int64_t* offsets;
  int groups;
  std::int64_t group_stride;  // elements between the groups' own matrices
};
// Rows of a and d times their group's b, `b_of_group_0 + g * group_stride`. m: the most rows that there can be; rows
// behind the last group stay as they are.
void plain_gemm_by_rows(const PlainGemm& call, const GroupedRows& groups);
// Group g's d, `d_of_group_0 + g * group_stride`, from the group's columns of a and rows of b; k is not read.
void plain_gemm_by_depth(const PlainGemm& call, const GroupedRows& groups);

}  // namespace lastbit::kernels
