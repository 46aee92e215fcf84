// The FP8 golden vectors: their index, their arrays, and bit-for-bit comparison with what the program wrote.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::golden {

// "<shared>/golden/fp8/dot.npz:key"
std::string array_path(const std::string& file, const std::string& key);

// The entries of one file in the index.
nlohmann::json index_of(const std::string& file);

// Runs the program, which must succeed, with "--out" a scratch file appended, and loads that file.
tensor::Tensor run_to_array(std::vector<std::string> args);

// An array's elements, whatever unsigned or float type they have, as bits in 32.
std::vector<std::uint32_t> bits_of(const tensor::Tensor& array);

// Expects equal bits; `any_nan`: FP32 NaNs are equal whatever their bits. `golden` may be shorter: a prefix.
void expect_same_bits(const tensor::Tensor& computed, const tensor::Tensor& golden, const std::string& what,
                      bool any_nan = false);

}  // namespace lastbit::golden
