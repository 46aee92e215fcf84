// NumPy's .npy format, versions 1.0 to 3.0. Source: numpy.lib.format documentation (NEP 1).
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "tensor/tensor.h"

namespace lastbit::io {

// Little-endian numbers and bools; Fortran order is transposed to row-major. One-byte and two-byte void elements, as
// which ml_dtypes writes FP8 and BF16, come back as their codes: u8 and u16.
// Errors: anything malformed, truncated or with bytes left over is bad input that names `path`.
[[nodiscard]] tensor::Tensor load_npy(const std::string& path);

// The same from memory; `name` stands for the file in messages. The tensor owns a copy of the elements.
[[nodiscard]] tensor::Tensor parse_npy(std::span<const std::byte> bytes, const std::string& name);

// Version 1.0 (2.0 when the header needs it), row-major. FP8, E8M0 and BF16 are written as their codes (u1, u2).
void save_npy(const std::string& path, const tensor::Tensor& tensor);

// What precedes the elements in a .npy file: magic, version and header, a multiple of 64 bytes.
[[nodiscard]] std::string npy_preamble(const tensor::Tensor& tensor);

}  // namespace lastbit::io
