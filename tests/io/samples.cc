#include "io/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "io/file_bytes.h"

namespace lastbit::io {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

Tensor sample(DType dtype, Shape shape) {
  Tensor tensor = Tensor::empty(dtype, std::move(shape));
  unsigned value = 3;
  for (std::byte& byte : tensor.mutable_bytes()) {
    value = (value * 37 + 11) % 251;
    byte = static_cast<std::byte>(dtype == DType::kBool ? value % 2 : value);
  }
  return tensor;
}

NamedTensors samples() {
  NamedTensors tensors;
  for (const DType dtype : kAllDTypes)
    tensors.emplace("all." + std::string(tensor::name(dtype)), sample(dtype, {2, 3}));
  tensors.emplace("hidden.layer0", sample(DType::kF32, {1, 2, 1, 3}));
  tensors.emplace("scalar", sample(DType::kF64, {}));
  tensors.emplace("empty", sample(DType::kI32, {0, 4}));
  return tensors;
}

void expect_same(const Tensor& expected, const Tensor& found, const std::string& what) {
  EXPECT_EQ(tensor::name(expected.dtype()), tensor::name(found.dtype())) << what;
  EXPECT_EQ(expected.shape(), found.shape()) << what;
  EXPECT_TRUE(std::ranges::equal(expected.bytes(), found.bytes())) << what;
}

void expect_same(const NamedTensors& expected, const NamedTensors& found) {
  EXPECT_EQ(expected.size(), found.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    expect_same(tensor, found.at(name), name);
  }
}

Tensor as_codes(const Tensor& tensor) {
  if (tensor.dtype() == DType::kBF16) return tensor.view_as(DType::kU16);
  return tensor.dtype() >= DType::kE4M3 ? tensor.view_as(DType::kU8) : tensor;
}

std::vector<std::byte> read_bytes(const std::string& path) {
  const auto file = FileBytes::open(path);
  return {file->bytes().begin(), file->bytes().end()};
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void write_bytes(const std::string& path, std::span<const std::byte> bytes) {
  std::filesystem::remove(path);  // some file systems flush a file that is truncated and written again
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}

}  // namespace lastbit::io
