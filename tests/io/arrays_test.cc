#include "io/arrays.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/samples.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

using tensor::DType;
using tensor::NamedTensors;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

TEST(ArrayPath, SplitsAfterTheExtension) {
  const auto split = [](const std::string& path) {
    const ArrayPath parts = split_array_path(path);
    return parts.file + "|" + parts.key;
  };
  EXPECT_EQ(split("a.npy"), "a.npy|");
  EXPECT_EQ(split("a.npz:x"), "a.npz|x");
  EXPECT_EQ(split("a:b/c.npz:x:y"), "a:b/c.npz|x:y");
  EXPECT_EQ(split("a.h5:group/x.npz:y"), "a.h5|group/x.npz:y");
  EXPECT_EQ(split("dir.d/a.safetensors:hidden.layer0"), "dir.d/a.safetensors|hidden.layer0");
  EXPECT_EQ(split("a.hdf5:x"), "a.hdf5|x");
  EXPECT_EQ(split("a.npz:"), "a.npz|");
}

TEST(ArrayPath, AFileThatExistsIsNotSplit) {
  const testing::TempDir dir;
  write_text_file(dir.file("odd.npz:name.npy"), "x");
  EXPECT_EQ(split_array_path(dir.file("odd.npz:name.npy")).key, "");
}

TEST(Arrays, OneArrayUnderItsName) {
  const testing::TempDir dir;
  const tensor::Tensor array = sample(DType::kF32, {2, 3});
  for (const char* name : {"x.npy", "x.npz:d", "x.safetensors:d", "x.h5:group/d"}) {
    save_array(dir.file(name), array);
    expect_same(array, load_array(dir.file(name)), name);
  }
  EXPECT_NE(error_of([&] { save_array(dir.file("y.npz"), array); }).find("expected a name for the array"),
            std::string::npos);
  EXPECT_NE(error_of([&] { save_array(dir.file("y.bin"), array); }).find("extension '.bin'"), std::string::npos);
}

TEST(Arrays, EveryFormatByItsExtension) {
  const testing::TempDir dir;
  const NamedTensors tensors{{"a.b", sample(DType::kF32, {2, 3})}, {"c", sample(DType::kI64, {4})}};
  for (const char* name : {"x.npz", "x.safetensors", "x.h5", "x.hdf5"}) {
    save_arrays(dir.file(name), tensors);
    expect_same(tensors, load_arrays(dir.file(name)));
    expect_same(tensors.at("a.b"), load_array(dir.file(name) + ":a.b"), name);
    EXPECT_NE(error_of([&] { (void)load_array(dir.file(name)); }).find("holds 2 arrays (a.b, c), expected a key"),
              std::string::npos);
    EXPECT_NE(error_of([&] { (void)load_array(dir.file(name) + ":a.c"); }).find("did you mean 'a.b'?"),
              std::string::npos);
  }
  save_arrays(dir.file("x.npy"), {{"only", tensors.at("c")}});
  expect_same(tensors.at("c"), load_array(dir.file("x.npy")), "npy");
}

TEST(Arrays, RefusesWhatItCannotKnow) {
  const testing::TempDir dir;
  EXPECT_NE(error_of([&] { (void)load_array("x.csv"); }).find("extension '.csv', expected .npy"), std::string::npos);
  EXPECT_NE(error_of([&] { (void)load_arrays("x.npy"); }).find("extension"), std::string::npos);
  EXPECT_NE(error_of([&] { save_arrays(dir.file("x.txt"), {}); }).find("extension"), std::string::npos);
  EXPECT_NE(error_of([&] { save_arrays(dir.file("x.npy"), samples()); }).find("holds one array, found 21"),
            std::string::npos);
}

}  // namespace
}  // namespace lastbit::io
