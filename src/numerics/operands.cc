#include "numerics/operands.h"

#include <array>
#include <cstring>

#include "core/error.h"

namespace lastbit::numerics {
namespace {

struct Operand {
  std::int32_t significand;
  std::int32_t exponent;
};

Operand take_apart(std::uint32_t code, Format format) {
  const Unpacked number = unpack(code, format);
  switch (number.kind) {
    case NumberKind::kZero:
      return {0, kZeroExponent};
    case NumberKind::kInf:
      return {number.negative ? -1 : 1, kSpecialExponent};
    case NumberKind::kNan:
      return {0, kSpecialExponent};
    case NumberKind::kFinite:
      break;
  }
  return {number.significand, number.exponent};
}

template <typename Code, typename TakeApart>
void fill(const std::byte* source, std::int64_t step_bytes, std::int64_t count, std::int32_t* significands,
          std::int32_t* exponents, const TakeApart& look_up) {
  for (std::int64_t i = 0; i < count; ++i) {
    Code code = 0;
    std::memcpy(&code, source + i * step_bytes, sizeof(Code));
    const Operand operand = look_up(code);
    significands[i] = operand.significand;
    exponents[i] = operand.exponent;
  }
}

}  // namespace

std::uint32_t CodeMatrix::code(std::int64_t row, std::int64_t col) const {
  const int width = describe(format).storage_bytes;
  const std::byte* place = bytes.data() + (row * row_stride() + col * col_stride()) * width;
  std::uint32_t code = 0;  // little-endian, as every machine this builds on
  std::memcpy(&code, place, static_cast<std::size_t>(width));
  return code;
}

void OperandPanel::assign(const CodeMatrix& matrix, std::int64_t row, std::int64_t rows, std::int64_t col,
                          std::int64_t cols, std::int64_t stride) {
  core::check(row >= 0 && row + rows <= matrix.rows && col >= 0 && col + cols <= matrix.cols,
              "block within the matrix");
  core::check(stride >= cols, "stride of at least the block's columns");
  const int width = describe(matrix.format).storage_bytes;
  const auto total = static_cast<std::size_t>(rows * stride);
  stride_ = stride;
  significands_.assign(total, 0);
  exponents_.assign(total, kZeroExponent);
  const Format format = matrix.format;
  std::array<Operand, 256> table{};
  if (width == 1)
    for (std::uint32_t code = 0; code < 256; ++code) table[code] = take_apart(code, format);
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::byte* source =
        matrix.bytes.data() + ((row + i) * matrix.row_stride() + col * matrix.col_stride()) * width;
    const std::int64_t step_bytes = matrix.col_stride() * width;
    std::int32_t* significands = significands_.data() + i * stride;
    std::int32_t* exponents = exponents_.data() + i * stride;
    if (width == 1)
      fill<std::uint8_t>(source, step_bytes, cols, significands, exponents,
                         [&table](std::uint8_t code) { return table[code]; });
    else if (width == 2)
      fill<std::uint16_t>(source, step_bytes, cols, significands, exponents,
                          [format](std::uint16_t code) { return take_apart(code, format); });
    else
      fill<std::uint32_t>(source, step_bytes, cols, significands, exponents,
                          [format](std::uint32_t code) { return take_apart(code, format); });
  }
}

}  // namespace lastbit::numerics
