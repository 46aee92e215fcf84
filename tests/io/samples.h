// Arrays that round-trip tests write and read: every dtype, and odd shapes.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::io {

inline constexpr std::array<tensor::DType, 18> kAllDTypes{
    tensor::DType::kBool,     tensor::DType::kI8,       tensor::DType::kU8,  tensor::DType::kI16,  tensor::DType::kU16,
    tensor::DType::kI32,      tensor::DType::kU32,      tensor::DType::kI64, tensor::DType::kU64,  tensor::DType::kF16,
    tensor::DType::kBF16,     tensor::DType::kF32,      tensor::DType::kF64, tensor::DType::kE4M3, tensor::DType::kE5M2,
    tensor::DType::kE4M3Fnuz, tensor::DType::kE5M2Fnuz, tensor::DType::kE8M0};

// An array of the shape whose bytes are all different from their neighbours; bools are 0 and 1.
tensor::Tensor sample(tensor::DType dtype, tensor::Shape shape);

// One small array of every dtype, a scalar, an empty array, and names with dots.
tensor::NamedTensors samples();

// The same dtype, shape and bytes.
void expect_same(const tensor::Tensor& expected, const tensor::Tensor& found, const std::string& what);
void expect_same(const tensor::NamedTensors& expected, const tensor::NamedTensors& found);

// A tensor's bytes read as its codes: FP8 and E8M0 as u8, BF16 as u16, all else unchanged.
tensor::Tensor as_codes(const tensor::Tensor& tensor);

std::vector<std::byte> read_bytes(const std::string& path);
std::vector<std::byte> bytes_of(const std::string& text);
void write_bytes(const std::string& path, std::span<const std::byte> bytes);

}  // namespace lastbit::io
