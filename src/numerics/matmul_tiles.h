// The two paths of matmul() behind its front: plain, and vectorised. Both compute one tile of the outputs.
#pragma once

#include <cstdint>

#include "numerics/matmul.h"

namespace lastbit::numerics {

// How many parts of at most `most` make up `size`.
[[nodiscard]] constexpr std::int64_t parts(std::int64_t size, std::int64_t most) { return (size + most - 1) / most; }

// Outputs [row, row + rows) x [col, col + cols) of a checked problem.
template <typename T>
struct MatmulTile {
  const MatmulProblem<T>* problem;
  std::int64_t row;
  std::int64_t rows;
  std::int64_t col;
  std::int64_t cols;
  // Which dimension lies along the lanes of vectors: that of b's columns or, turned, that of a's rows. No bit depends
  // on it: a product commutes, and every output is one chain.
  bool turned;
};

void matmul_tile_plain(const MatmulTile<float>& tile);
void matmul_tile_plain(const MatmulTile<double>& tile);
// `next`: the tile that comes after this one, if there is one; what it starts with is fetched from memory meanwhile.
void matmul_tile_vector(const MatmulTile<float>& tile, const MatmulTile<float>* next);
void matmul_tile_vector(const MatmulTile<double>& tile, const MatmulTile<double>* next);

// An operand as the loops see it: line i along M or N, element k along K, at data[i * line_step + k * k_step]. One of
// the steps is 1.
template <typename T>
struct OperandLines {
  const T* data;
  std::int64_t line_step;
  std::int64_t k_step;

  [[nodiscard]] const T* at(std::int64_t line, std::int64_t k) const { return data + line * line_step + k * k_step; }
};

// The lines of a are its rows, those of b its columns.
template <typename T>
OperandLines<T> lines_of_a(const MatrixView<T>& a) {
  return a.transposed ? OperandLines<T>{a.data, 1, a.stride} : OperandLines<T>{a.data, a.stride, 1};
}
template <typename T>
OperandLines<T> lines_of_b(const MatrixView<T>& b) {
  return b.transposed ? OperandLines<T>{b.data, b.stride, 1} : OperandLines<T>{b.data, 1, b.stride};
}

}  // namespace lastbit::numerics
