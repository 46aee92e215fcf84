// The golden files of ../shared, written by NumPy and by the reference implementation of safetensors.
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "io/arrays.h"
#include "io/npz.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

using tensor::DType;
using tensor::Shape;

std::vector<std::string> golden_files(const std::string& extension) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(testing::shared_path("golden")))
    if (entry.path().extension() == extension) files.push_back(entry.path().string());
  return files;
}

TEST(SharedFiles, EveryNpzIsRead) {
  LASTBIT_NEEDS_SHARED();
  const std::vector<std::string> files = golden_files(".npz");
  EXPECT_GE(files.size(), 4u);
  for (const std::string& file : files) {
    const tensor::NamedTensors all = load_npz(file);
    EXPECT_GT(all.size(), 0u) << file;
    const auto& [key, first] = *all.begin();
    const tensor::Tensor alone = load_array(file + ":" + key + ".npy");
    EXPECT_EQ(alone.shape(), first.shape());
    EXPECT_TRUE(std::ranges::equal(alone.bytes(), first.bytes()));
  }
}

TEST(SharedFiles, EverySafetensorsFileIsRead) {
  LASTBIT_NEEDS_SHARED();
  const std::vector<std::string> files = golden_files(".safetensors");
  EXPECT_GE(files.size(), 19u);
  for (const std::string& file : files) EXPECT_GT(load_arrays(file).size(), 0u) << file;
}

TEST(SharedFiles, KnownArraysHaveTheirShapes) {
  LASTBIT_NEEDS_SHARED();
  const tensor::Tensor codes = load_array(testing::shared_path("golden/fp8/dot.npz:hopper_wgmma__e4m3_e4m3_f32__A"));
  EXPECT_EQ(codes.dtype(), DType::kU8);
  EXPECT_EQ(codes.shape(), (Shape{5120, 32}));
  const tensor::Tensor ids = load_array(testing::shared_path("golden/model/v3_base/golden.safetensors:input_ids"));
  EXPECT_EQ(ids.dtype(), DType::kI64);
  EXPECT_EQ(ids.rank(), 2);
}

}  // namespace
}  // namespace lastbit::io
