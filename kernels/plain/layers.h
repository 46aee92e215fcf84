// What lies between the products of a transformer block, forward and backward, on FP32 values or BF16 codes and
// computed in FP32: the obvious versions. Arrays are the device's, row-major; each function launches one kernel unless
// it says more; errors as launch().
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/layers/layers.h"
#include "kernels/plain/values_view.h"

namespace lastbit::kernels {

// y [count] = 0.
void fill_zero(float* y, std::size_t count);
// y [count] = x: a cast where the two differ.
void copy_values(const Values& x, const Values& y, std::size_t count);
// y [count] = x, bits as they are.
void copy_words(const std::int64_t* x, std::int64_t* y, std::size_t count);

// `batch` rows of tokens of d elements: the first `tokens` of rows that are x_row tokens long go to rows of y_row.
struct TokenCopy {
  int batch;
  int tokens;
  int x_row;
  int y_row;
  int d;
};
// y = x, and +0 in the tokens that y has beyond.
void copy_tokens(const Values& x, const Values& y, const TokenCopy& shape);

// y [rows, cols] = x, rows x_stride and y_stride apart.
void copy_columns(const Values& x, std::int64_t x_stride, const Values& y, std::int64_t y_stride, std::int64_t rows,
                  std::int64_t cols);

// y [tokens, d] = table [vocabulary, d] FP32 at ids [tokens].
void embedding_values(const float* table, const std::int64_t* ids, int tokens, int d, const Values& y);

// Rows of d elements, `x_stride` and `y_stride` apart.
struct NormShape {
  int rows;
  int d;
  int x_stride;
  int y_stride;
  float eps;
};
// y = weight * (x / sqrt(mean(x^2) + eps)), weight [d] FP32.
void rms_norm_values(const Values& x, const float* weight, const NormShape& shape, const Values& y);
// dx of dy, strides of x and dx as those of x and y in `shape`, dy contiguous; dweight [d] is added to, rows ascending.
// `factors` [rows]: room. Two launches.
void rms_norm_gradient(const Values& dy, const Values& x, const float* weight, const NormShape& shape, const Values& dx,
                       float* dweight, float* factors);

// The rotated part of vectors: element j of head h of token t at t * token_stride + h * head_stride + first + j.
struct RotaryPart {
  Values values;
  std::int64_t token_stride;
  std::int64_t head_stride;
  std::int64_t first;
};
struct TurnShape {
  int tokens;
  int heads;
  int dim;  // even
};
// to = from, turned as kernels::rope does; cosines and sines [tokens, dim / 2]. `back`: the transposed turn, places as
// before the turn, for gradients. The two do not overlap.
void turn_heads(const RotaryPart& from, const RotaryPart& to, const float* cosines, const float* sines,
                const TurnShape& shape, RopeLayout layout, bool back);

// y = silu(gate) * up, [count] each.
void swiglu_values(const Values& gate, const Values& up, std::size_t count, const Values& y);

}  // namespace lastbit::kernels
