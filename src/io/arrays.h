// Arrays named as on the command line: "file.npy", "file.npz:key", "file.safetensors:key", "file.h5:key".
#pragma once

#include <string>

#include "tensor/tensor.h"

namespace lastbit::io {

struct ArrayPath {
  std::string file;
  std::string key;  // "" when none was given
};

// Splits at the colon after the file's extension; a whole `path` that exists as a file is never split.
[[nodiscard]] ArrayPath split_array_path(const std::string& path);

// Whether `file` holds many arrays by name, by its extension: .npz, .safetensors, .h5 or .hdf5.
[[nodiscard]] bool is_container(const std::string& file);

// Errors: bad input for an unknown extension, a container without a key, a key that is not there.
[[nodiscard]] tensor::Tensor load_array(const std::string& path);

// All arrays of a container.
[[nodiscard]] tensor::NamedTensors load_arrays(const std::string& file);

// Writes a container in the format of its extension; ".npy" takes exactly one array, whatever its name.
void save_arrays(const std::string& path, const tensor::NamedTensors& tensors);

// One array, named as for load_array(): a container is written with that array alone. Errors: bad input for an unknown
// extension and for a container without a key.
void save_array(const std::string& path, const tensor::Tensor& tensor);

}  // namespace lastbit::io
