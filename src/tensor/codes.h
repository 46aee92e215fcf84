// Tensors that hold raw codes of a numerics format, as the tensor-core functions take them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "numerics/operands.h"
#include "tensor/tensor.h"

namespace lastbit::tensor {

// The unsigned integer dtype of a format's codes: U8, U16 or U32.
[[nodiscard]] DType code_dtype(numerics::Format format);

// A [rows, cols] tensor as codes of `format`, borrowed from `tensor`, which must outlive the result and be contiguous.
// Taken: the unsigned integer of the format's width, or the format's own dtype (TF32: also F32). Errors: another dtype
// or rank, and codes beyond a format of 4 or 12 bits, are bad input; `what` names the array in the message.
[[nodiscard]] numerics::CodeMatrix code_matrix(const Tensor& tensor, numerics::Format format, const std::string& what);

// A [n] tensor's codes, each widened to 32 bits; dtypes and errors as above, and another length than `count`.
[[nodiscard]] std::vector<std::uint32_t> code_vector(const Tensor& tensor, numerics::Format format, std::int64_t count,
                                                     const std::string& what);

// A tensor of code_dtype(format) and `shape` from codes held in 32 bits each.
[[nodiscard]] Tensor tensor_of_codes(std::span<const std::uint32_t> codes, numerics::Format format, Shape shape);

// FP32 values as codes of `format`, the same shape, in code_dtype(format). `tensor`: F32, or U32 read as the bits of
// FP32; contiguous. Stochastic rounding takes word i of the stream (seed, "cast") for element i. Errors: another dtype
// is bad input; `what` names the array.
[[nodiscard]] Tensor encode_codes(const Tensor& tensor, numerics::Format format, const numerics::EncodeOptions& options,
                                  std::uint64_t seed, const std::string& what);

// The FP32 values of codes of `format`, the same shape. Dtypes and errors as code_matrix; any rank; contiguous.
[[nodiscard]] Tensor decode_codes(const Tensor& tensor, numerics::Format format, const std::string& what);

// Scales [rows, cols] in FP32: an F32 tensor, or U32 read as the bits of FP32. Errors: another dtype or shape is bad
// input; `what` names the array.
[[nodiscard]] std::span<const float> scale_matrix(const Tensor& tensor, std::int64_t rows, std::int64_t cols,
                                                  const std::string& what);

}  // namespace lastbit::tensor
