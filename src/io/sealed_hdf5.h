// HDF5 files of which no byte can change unnoticed: what a long run must be able to trust after a crash.
#pragma once

#include <string>

#include "io/hdf5.h"
#include "tensor/tensor.h"

namespace lastbit::io {

// As save_hdf5, but sealed: HDF5's user block (512 bytes before the file proper, which readers of HDF5 skip) holds one
// line with the length and the CRC-32 of all that follows, and every dataset has its own CRC-32 as attribute "crc32".
// The file is made in memory and written under a temporary name, then renamed: whatever stops the writer, a file of
// this name is whole. The same tensors give the same bytes. Errors: what the system refuses to write (a full disk) is
// an I/O error that names the file; nothing is left of it.
void save_sealed_hdf5(const std::string& path, const tensor::NamedTensors& tensors, ObjectAttributes attributes = {});

struct SealedFile {
  tensor::NamedTensors tensors;
  Attributes attributes;  // of the file
};
// Errors (bad input): a file without a seal, or of another length or checksum than the seal says: with the dataset that
// is damaged where it can be told.
[[nodiscard]] SealedFile load_sealed_hdf5(const std::string& path);

}  // namespace lastbit::io
