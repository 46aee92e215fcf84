// Products of linear layers on a tensor core: values to codes, codes through the unit's model. Used by linear.cc alone.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ops/linear.h"

namespace lastbit::ops {

// One group's part of a product: D [m, n] (+)= left [m, k] right [n, k]^T, FP32.
struct CodedProduct {
  const CodedOperand* left;
  const CodedOperand* right;
  float* d;
  bool accumulate;
};

// What an operand's values are: a name for messages and histories, and where delayed scales come from.
struct OperandSource {
  std::string what;
  DelayedScales* scales = nullptr;
  std::size_t group = 0;
  bool again = false;  // the values stand in codes already: they have been observed
};

// x [rows, cols] as the product's operand [rows, cols], or [cols, rows] for the transposed form: tiles lie along the
// operand's own K. Errors: bad input when a value is not finite; unsupported when scales are delayed and there are
// none.
[[nodiscard]] CodedOperand code_operand(const numerics::FloatMatrix& x, const OperandNumerics& numerics,
                                        const OperandSource& source);
[[nodiscard]] CodedOperand code_transposed(const numerics::FloatMatrix& x, const OperandNumerics& numerics,
                                           const OperandSource& source);
// The transposed form for a right operand, whose packing turns it anyway: the codes lie as x.
[[nodiscard]] CodedOperand code_columns(const numerics::FloatMatrix& x, const OperandNumerics& numerics,
                                        const OperandSource& source);
// Whether code_operand() under the first and code_columns() under the second make the same codes of any matrix.
[[nodiscard]] bool same_codes(const OperandNumerics& operand, const OperandNumerics& columns);
// Whether code_transposed() makes codes that lie as the operand, rather than as x.
[[nodiscard]] bool codes_lie_turned(const OperandNumerics& numerics);

// The values that the codes stand for, in the layout of the codes.
[[nodiscard]] std::vector<float> coded_values(const CodedOperand& operand);

// What became of x's elements in its codes; `turned`: these lie as x's transpose.
[[nodiscard]] OperandLoss operand_loss(const numerics::FloatMatrix& x, const numerics::Quantized& codes, bool turned);

void run_products(const ProductNumerics& numerics, std::span<const CodedProduct> products);

}  // namespace lastbit::ops
