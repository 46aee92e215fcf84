// Arrays in HDF5 files: one dataset an array, groups written as "group/name".
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::io {

// Integers and IEEE floats of either byte order (those of 16 bits as f16), and h5py's bools (an enumeration of FALSE
// and TRUE). BF16, FP8 and E8M0 are integers of their codes with a string attribute "dtype" that names the type.
// Errors: a damaged or truncated file, and a dataset of any other type, are bad input in one line.
[[nodiscard]] tensor::NamedTensors load_hdf5(const std::string& path);

// One dataset; a missing key is an error that suggests one.
[[nodiscard]] tensor::Tensor load_hdf5_array(const std::string& path, const std::string& key);

// The datasets' names, in name order.
[[nodiscard]] std::vector<std::string> hdf5_names(const std::string& path);

// Contiguous little-endian datasets without time stamps: the same tensors give the same bytes. A '.' in a name stays
// in it; a '/' makes groups.
void save_hdf5(const std::string& path, const tensor::NamedTensors& tensors);

}  // namespace lastbit::io
