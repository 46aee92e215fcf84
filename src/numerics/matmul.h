// Products of FP32 and FP64 matrices, fast and with bits that one rule fixes.
//
// The rule: K is cut into blocks of kMatmulBlockK (the last may be shorter). The partial of a block is a chain of fused
// multiply-adds, y = fma(a(i, k), b(k, j), y), from +0 and with k ascending. An output is the sum of its partials, one
// rounding an addition, in the order of the blocks: without `accumulate` it starts as the first partial, with it as the
// old d. K = 0 leaves +0, with `accumulate` the old d.
// So an output's bits depend on its row of a, its column of b and its old value alone: not on M, N, the place, strides,
// transposition, the batch, threads or the instruction set. Infinities and NaNs come out as of IEEE 754's operations,
// but which NaN (its sign and payload) is not fixed. Zeros keep their signs by the same rule: a sum of products of -0
// is +0.
//
// Instruction sets without a fused multiply-add (see vector_target.h) call std::fma for each product: the same bits at
// about a hundredth of the speed.
#pragma once

#include <cstdint>
#include <span>

namespace lastbit::numerics {

inline constexpr std::int64_t kMatmulBlockK = 256;

// [rows, cols], borrowed: element (i, j) lies at data[i * stride + j] or, transposed, at data[j * stride + i]. stride
// is at least the length of a line of memory: cols or, transposed, rows.
template <typename T>
struct MatrixView {
  const T* data;
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t stride;
  bool transposed = false;
};

// d [M, N] = a [M, K] b [K, N], or d + a b with `accumulate`; row i of d at d + i * d_stride. Every size may be 0. d
// overlaps neither a nor b.
template <typename T>
struct MatmulProblem {
  MatrixView<T> a;
  MatrixView<T> b;
  T* d;
  std::int64_t d_stride;
  bool accumulate = false;
};

// Threaded over tiles of the outputs; what a tile reads of the larger operand is packed only when rows enough share it.
void matmul(const MatmulProblem<float>& problem);
void matmul(const MatmulProblem<double>& problem);

// All problems at once, threaded over the tiles of all of them: for the experts or the heads of a layer. The outputs of
// two problems do not overlap.
void matmul_batch(std::span<const MatmulProblem<float>> problems);
void matmul_batch(std::span<const MatmulProblem<double>> problems);

// The rule as it is written, an output at a time: what tests hold the others to.
void matmul_plain(const MatmulProblem<float>& problem);
void matmul_plain(const MatmulProblem<double>& problem);

}  // namespace lastbit::numerics
