// Validation through files: inputs that we write, outputs that somebody's kernel wrote.
//
// A pack is an .npz, .safetensors or .h5 file with the arrays CASE/INPUT ("all_codes/64x128x256/a"), with
// CASE/expected.OUTPUT beside them where asked for, and "manifest": the bytes of a JSON object that says contract,
// settings, seed and cases. A pack comes from its manifest alone: the same manifest gives the same bytes. Outputs come
// in a file of any of these formats as CASE/OUTPUT; codes may be unsigned integers of their width.
#pragma once

#include <string>

#include "check/validation.h"

namespace lastbit::check {

struct PackSummary {
  std::size_t cases = 0;
  std::size_t arrays = 0;
  std::size_t bytes = 0;
};
// Errors (bad input): those of cases_of() and of the contract, and a name of another extension.
PackSummary write_kernel_pack(const ValidationRequest& request, const std::string& path, bool with_expected);

// What a pack was written for. Errors (bad input): a file without a manifest, or with one that cannot be read, and
// inputs that are not those of the manifest.
[[nodiscard]] ValidationRequest read_kernel_pack(const std::string& path);
// The same of arrays in memory; `name` starts every message. Inputs are drawn only where the arrays have their names.
[[nodiscard]] ValidationRequest read_kernel_pack(const tensor::NamedTensors& arrays, const std::string& name);

// The kernel that wrote `path`. Errors (bad input): as io::load_arrays(), and a file without any array CASE/OUTPUT of
// the request.
[[nodiscard]] Implementation file_implementation(const std::string& path, const ValidationRequest& request);

}  // namespace lastbit::check
