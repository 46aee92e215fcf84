#include "io/hdf5.h"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "core/error.h"
#include "io/samples.h"
#include "support/shared.h"

// Read by LeakSanitizer: HDF5 1.10 loses the object headers that it finds damaged (H5O__obj_class, below H5Oopen).
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace lastbit::io {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

// Writes one dataset of two elements through HDF5 alone.
void write_dataset(const std::string& path, hid_t file_type, hid_t memory_type, const void* values, bool chunked) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t size = 2;
  const hid_t space = H5Screate_simple(1, &size, nullptr);
  const hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
  if (chunked) {
    ASSERT_GE(H5Pset_chunk(plan, 1, &size), 0);
    ASSERT_GE(H5Pset_deflate(plan, 9), 0);
  }
  const hid_t dataset = H5Dcreate2(file, "x", file_type, space, H5P_DEFAULT, plan, H5P_DEFAULT);
  ASSERT_GE(H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
  H5Dclose(dataset);
  H5Pclose(plan);
  H5Sclose(space);
  H5Fclose(file);
}

TEST(Hdf5, EveryDTypeComesBack) {
  const testing::TempDir dir;
  save_hdf5(dir.file("a.h5"), samples());
  expect_same(samples(), load_hdf5(dir.file("a.h5")));
  for (const auto& [name, tensor] : samples()) expect_same(tensor, load_hdf5_array(dir.file("a.h5"), name), name);
  EXPECT_EQ(hdf5_names(dir.file("a.h5")).size(), samples().size());
}

TEST(Hdf5, SameTensorsSameBytes) {
  const testing::TempDir dir;
  NamedTensors tensors = samples();
  tensors.emplace("group/inner/x", sample(DType::kF32, {2}));
  save_hdf5(dir.file("a.h5"), tensors);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5's time stamps are in seconds
  save_hdf5(dir.file("b.h5"), tensors);
  EXPECT_EQ(read_bytes(dir.file("a.h5")), read_bytes(dir.file("b.h5")));
}

TEST(Hdf5, AttributesComeBack) {
  const testing::TempDir dir;
  const NamedTensors tensors{{"gemm/a", sample(DType::kF32, {2})}, {"gemm/q", sample(DType::kE4M3, {3})}};
  const ObjectAttributes attributes{
      {"", {{"seed", std::int64_t{7}}, {"empty", std::string()}}},
      {"gemm", {{"unit", std::string("hopper_wgmma")}, {"epsilon", 1e-4}, {"m", std::int64_t{-1} << 40}}},
      {"gemm/a", {{"layout", std::string("[M, K]")}}}};
  save_hdf5(dir.file("a.h5"), tensors, attributes);
  expect_same(tensors, load_hdf5(dir.file("a.h5")));
  for (const auto& [object, expected] : attributes) EXPECT_EQ(load_hdf5_attributes(dir.file("a.h5"), object), expected);
  EXPECT_EQ(load_hdf5_attributes(dir.file("a.h5"), "gemm/q"), (Attributes{{"dtype", std::string("e4m3")}}));
  EXPECT_NE(error_of([&] { (void)load_hdf5_attributes(dir.file("a.h5"), "gem"); }).find("no such group or dataset"),
            std::string::npos);
}

TEST(Hdf5, DotsStayAndSlashesMakeGroups) {
  const testing::TempDir dir;
  const NamedTensors tensors{{"hidden.layer0", sample(DType::kF32, {2})}, {"taps/attn.q/x", sample(DType::kI8, {3})}};
  save_hdf5(dir.file("a.h5"), tensors);
  EXPECT_EQ(hdf5_names(dir.file("a.h5")), (std::vector<std::string>{"hidden.layer0", "taps/attn.q/x"}));
  expect_same(tensors, load_hdf5(dir.file("a.h5")));
}

TEST(Hdf5, BigEndianAndCompressedDatasetsAreRead) {
  const testing::TempDir dir;
  const std::vector<float> floats{1.5f, -2};
  const std::vector<std::int32_t> integers{7, -8};
  for (const bool chunked : {false, true}) {
    write_dataset(dir.file("f.h5"), H5T_IEEE_F32BE, H5T_NATIVE_FLOAT, floats.data(), chunked);
    expect_same(Tensor::from<float>({2}, floats), load_hdf5_array(dir.file("f.h5"), "x"), "floats");
    write_dataset(dir.file("i.h5"), H5T_STD_I32BE, H5T_NATIVE_INT32, integers.data(), chunked);
    expect_same(Tensor::from<std::int32_t>({2}, integers), load_hdf5_array(dir.file("i.h5"), "x"), "integers");
  }
}

TEST(Hdf5, OtherTypesAreRefused) {
  const testing::TempDir dir;
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 4);
  write_dataset(dir.file("s.h5"), text, text, "abcdefg", false);
  H5Tclose(text);
  EXPECT_NE(error_of([&] { (void)load_hdf5(dir.file("s.h5")); }).find("s.h5:x: HDF5 dataset of another type"),
            std::string::npos);
}

TEST(Hdf5, MissingKeysGetASuggestion) {
  const testing::TempDir dir;
  save_hdf5(dir.file("a.h5"), {{"logits", sample(DType::kF32, {2})}});
  EXPECT_NE(error_of([&] { (void)load_hdf5_array(dir.file("a.h5"), "logit"); }).find("did you mean 'logits'?"),
            std::string::npos);
}

TEST(Hdf5, NamesThatCannotBeAreRefused) {
  const testing::TempDir dir;
  for (const std::string name : {"", ".", "/", "a/", "/a", "a//b", "a/./b"})
    EXPECT_NE(error_of([&] { save_hdf5(dir.file("a.h5"), {{name, sample(DType::kF32, {2})}}); }), "") << name;
}

TEST(Hdf5, TruncatedAtEveryLengthIsRefused) {
  const testing::TempDir dir;
  save_hdf5(dir.file("a.h5"), {{"a", sample(DType::kF32, {2, 3})}, {"b", sample(DType::kE4M3, {5})}});
  const std::vector<std::byte> bytes = read_bytes(dir.file("a.h5"));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    write_bytes(dir.file("t.h5"), std::span(bytes).first(length));
    EXPECT_NE(error_of([&] { (void)load_hdf5(dir.file("t.h5")); }), "") << length;
  }
}

TEST(Hdf5, AnyChangedByteIsReadOrRefused) {
  const testing::TempDir dir;
  save_hdf5(dir.file("a.h5"), {{"a", sample(DType::kF32, {2, 3})}, {"b", sample(DType::kE4M3, {5})}});
  const std::vector<std::byte> bytes = read_bytes(dir.file("a.h5"));
  std::size_t refused = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (bytes[at] == std::byte{0} && at % 7 != 0) continue;  // most of the file is padding
    std::vector<std::byte> changed = bytes;
    changed[at] ^= std::byte{0xff};
    write_bytes(dir.file("t.h5"), changed);
    try {
      (void)load_hdf5(dir.file("t.h5"));
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 50u);
}

TEST(Hdf5, NothingIsLeftWhenWritingFails) {
  const testing::TempDir dir;
  EXPECT_THROW(save_hdf5(dir.file("no/such/a.h5"), samples()), core::Error);
  EXPECT_THROW(save_hdf5(dir.file("b.h5"), {{"a", sample(DType::kF32, {2})}, {"a/b", sample(DType::kF32, {2})}}),
               core::Error);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace lastbit::io
