#include "io/arrays.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "io/hdf5.h"
#include "io/npy.h"
#include "io/npz.h"
#include "io/safetensors.h"

namespace lastbit::io {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

constexpr std::array<std::string_view, 4> kContainers{".npz", ".safetensors", ".h5", ".hdf5"};

std::string extension_of(const std::string& file) { return std::filesystem::path(file).extension().string(); }

[[noreturn]] void fail_extension(const std::string& file) {
  core::fail_input("{}: extension '{}', expected .npy, {}", file, extension_of(file), fmt::join(kContainers, ", "));
}

std::vector<std::string> names_in(const std::string& file) {
  const std::string extension = extension_of(file);
  if (extension == ".npz") return npz_names(file);
  if (extension == ".safetensors") return SafetensorsFile::open(file).names();
  return hdf5_names(file);
}

[[noreturn]] void fail_without_key(const std::string& file) {
  constexpr std::size_t kShown = 4;
  const std::vector<std::string> names = names_in(file);
  const std::span<const std::string> shown(names.data(), std::min(names.size(), kShown));
  core::fail_input("{}: holds {} arrays ({}{}), expected a key: {}:KEY", file, names.size(), fmt::join(shown, ", "),
                   names.size() > kShown ? ", ..." : "", file);
}

}  // namespace

ArrayPath split_array_path(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return {path, ""};
  std::size_t split = std::string::npos;
  for (const std::string_view extension : kContainers) {
    const std::size_t at = path.find(std::string(extension) + ":");
    if (at != std::string::npos) split = std::min(split, at + extension.size());
  }
  if (split == std::string::npos) return {path, ""};
  return {path.substr(0, split), path.substr(split + 1)};
}

bool is_container(const std::string& file) {
  return std::find(kContainers.begin(), kContainers.end(), extension_of(file)) != kContainers.end();
}

Tensor load_array(const std::string& path) {
  const auto [file, key] = split_array_path(path);
  const std::string extension = extension_of(file);
  if (extension == ".npy") return load_npy(file);
  if (!is_container(file)) fail_extension(file);
  if (key.empty()) fail_without_key(file);
  if (extension == ".npz") return load_npz_array(file, key);
  if (extension == ".safetensors") return SafetensorsFile::open(file).tensor(key);
  return load_hdf5_array(file, key);
}

NamedTensors load_arrays(const std::string& file) {
  const std::string extension = extension_of(file);
  if (!is_container(file)) fail_extension(file);
  if (extension == ".npz") return load_npz(file);
  if (extension == ".safetensors") return SafetensorsFile::open(file).tensors();
  return load_hdf5(file);
}

void save_arrays(const std::string& path, const NamedTensors& tensors) {
  const std::string extension = extension_of(path);
  if (extension == ".npz") return save_npz(path, tensors);
  if (extension == ".safetensors") return save_safetensors(path, tensors);
  if (extension == ".h5" || extension == ".hdf5") return save_hdf5(path, tensors);
  if (extension != ".npy") fail_extension(path);
  if (tensors.size() != 1)
    core::fail_input("{}: an npy file holds one array, found {}; expected .npz, .safetensors or .h5", path,
                     tensors.size());
  save_npy(path, tensors.begin()->second);
}

void save_array(const std::string& path, const Tensor& tensor) {
  const auto [file, key] = split_array_path(path);
  if (is_container(file) && key.empty()) core::fail_input("{}: expected a name for the array: {}:KEY", path, path);
  save_arrays(file, {{key, tensor}});
}

}  // namespace lastbit::io
