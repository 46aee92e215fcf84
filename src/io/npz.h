// NumPy's .npz archives: a zip file of .npy members, stored or deflated.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::io {

// All arrays by key (the member's name without ".npy").
// Errors: a damaged or truncated archive, a checksum that does not match and a key that is there twice are bad input.
[[nodiscard]] tensor::NamedTensors load_npz(const std::string& path);
[[nodiscard]] tensor::NamedTensors parse_npz(std::span<const std::byte> bytes, const std::string& name);

// One array, without reading the others; `key` with or without ".npy". A missing key is an error that suggests one.
[[nodiscard]] tensor::Tensor load_npz_array(const std::string& path, const std::string& key);

// The keys, in name order.
[[nodiscard]] std::vector<std::string> npz_names(const std::string& path);

// Stored, not deflated, in name order with a fixed date: the same tensors give the same bytes.
void save_npz(const std::string& path, const tensor::NamedTensors& tensors);

}  // namespace lastbit::io
