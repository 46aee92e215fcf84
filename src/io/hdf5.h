// Arrays in HDF5 files: one dataset an array, groups written as "group/name".
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::io {

// Scalars attached to a file, a group or a dataset: int64, float64, and UTF-8 strings of fixed length.
using Attribute = std::variant<std::int64_t, double, std::string>;
using Attributes = std::map<std::string, Attribute>;
// By object: "" is the file itself, "gemm/sparse" a group or a dataset.
using ObjectAttributes = std::map<std::string, Attributes>;

// Integers and IEEE floats of either byte order (those of 16 bits as f16), and h5py's bools (an enumeration of FALSE
// and TRUE). BF16, FP8 and E8M0 are integers of their codes with a string attribute "dtype" that names the type.
// Errors: a damaged or truncated file, and a dataset of any other type, are bad input in one line.
[[nodiscard]] tensor::NamedTensors load_hdf5(const std::string& path);

// One dataset; a missing key is an error that suggests one.
[[nodiscard]] tensor::Tensor load_hdf5_array(const std::string& path, const std::string& key);

// The datasets' names, in name order.
[[nodiscard]] std::vector<std::string> hdf5_names(const std::string& path);

// Contiguous little-endian datasets without time stamps: the same tensors give the same bytes. A '.' in a name stays
// in it; a '/' makes groups. Attributes go to groups that the datasets' names make, and to datasets.
void save_hdf5(const std::string& path, const tensor::NamedTensors& tensors, const ObjectAttributes& attributes = {});

// The bytes of such a file, made in memory, so that writing them can fail without the library's knowledge. `name`
// stands for it in messages.
[[nodiscard]] std::vector<std::byte> hdf5_image(const std::string& name, const tensor::NamedTensors& tensors,
                                                const ObjectAttributes& attributes);

// The attributes of one object; those of other types than Attribute's are left out. Errors: no such object.
[[nodiscard]] Attributes load_hdf5_attributes(const std::string& path, const std::string& object);

}  // namespace lastbit::io
