// Operands of a tensor core taken apart: raw codes in, significands and exponents out, once for many uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "numerics/format.h"

namespace lastbit::numerics {

// A [rows, cols] matrix of codes, each describe(format).storage_bytes wide; borrowed, of any alignment. Row-major, or,
// `transposed`, in memory a row-major [cols, rows].
struct CodeMatrix {
  Format format;
  std::int64_t rows;
  std::int64_t cols;
  std::span<const std::byte> bytes;
  bool transposed = false;

  // Elements between one row and the next, and between one column and the next.
  [[nodiscard]] std::int64_t row_stride() const { return transposed ? 1 : cols; }
  [[nodiscard]] std::int64_t col_stride() const { return transposed ? rows : 1; }

  [[nodiscard]] std::uint32_t code(std::int64_t row, std::int64_t col) const;
};

// The exponent entries of numbers that take no ordinary part, chosen so that the largest sum of two exponents of a
// step tells at once what is in it: at least kSpecialThreshold when an operand is Inf or NaN, below kZeroThreshold
// when every product is zero. Ordinary exponents lie in -127..128.
inline constexpr std::int32_t kZeroExponent = -(1 << 16);
inline constexpr std::int32_t kSpecialExponent = 1 << 20;
inline constexpr std::int32_t kZeroThreshold = -(1 << 15);
inline constexpr std::int32_t kSpecialThreshold = 1 << 19;

// One row of operands: value k is significands[k] * 2^(exponents[k] - fraction_bits). Zero: significand 0, exponent
// kZeroExponent. Inf and NaN: exponent kSpecialExponent, significand +1 or -1 for Inf, 0 for NaN.
struct OperandRow {
  const std::int32_t* significands;
  const std::int32_t* exponents;
};

// A block of rows and columns of a CodeMatrix, taken apart, padded on the right with zeros to `stride` columns.
class OperandPanel {
 public:
  // Replaces the content by rows [row, row + rows) and columns [col, col + cols) of `matrix`; stride >= cols.
  // Rows and columns lie within the matrix.
  void assign(const CodeMatrix& matrix, std::int64_t row, std::int64_t rows, std::int64_t col, std::int64_t cols,
              std::int64_t stride);
  // Operands of row `row` of the block from column `col` on.
  [[nodiscard]] OperandRow at(std::int64_t row, std::int64_t col) const {
    const std::int64_t offset = row * stride_ + col;
    return {significands_.data() + offset, exponents_.data() + offset};
  }

 private:
  std::int64_t stride_ = 0;
  std::vector<std::int32_t> significands_;
  std::vector<std::int32_t> exponents_;
};

}  // namespace lastbit::numerics
