// What the host waits for.
#include "kernels/device/runtime.h"

#include <gtest/gtest.h>

#include <array>

#include "kernels/plain/layers.h"

namespace lastbit::device {
namespace {

// A copy on the stream of the kernels waits for those before it, an upload as a download.
TEST(Runtime, AnUploadBehindALaunchIsAWait) {
  Runtime runtime(Memory::kBlocks, 256);
  const Array array = runtime.allocate("array", Element::kF32, 4);
  const std::array<float, 4> values{1, 2, 3, 4};
  const auto upload = [&] { runtime.upload(array, std::as_bytes(std::span(values))); };
  upload();
  EXPECT_EQ(runtime.waits(), 0);
  runtime.run([&] { kernels::fill_zero(array.f32(), 4); });
  upload();
  upload();
  EXPECT_EQ(runtime.waits(), 1);
  std::array<float, 4> found{};
  runtime.run([&] { kernels::fill_zero(array.f32(), 4); });
  runtime.download(array, std::as_writable_bytes(std::span(found)));
  EXPECT_EQ(runtime.waits(), 2);
  EXPECT_EQ(found, (std::array<float, 4>{}));
  upload();
  EXPECT_EQ(runtime.waits(), 2);
}

// What is queued is in order with kernels, and nobody waits.
TEST(Runtime, WhatIsSentIsInOrderAndNoWait) {
  Runtime runtime(Memory::kBlocks, 256);
  const Array array = runtime.allocate("array", Element::kF32, 4);
  runtime.run([&] { kernels::fill_zero(array.f32(), 4); });
  {
    const std::array<float, 4> values{1, 2, 3, 4};
    runtime.send(array, std::as_bytes(std::span(values)));
  }
  EXPECT_EQ(runtime.waits(), 0);
  std::array<float, 4> found{};
  runtime.download(array, std::as_writable_bytes(std::span(found)));
  EXPECT_EQ(found, (std::array<float, 4>{1, 2, 3, 4}));
  EXPECT_EQ(runtime.waits(), 1);
}

}  // namespace
}  // namespace lastbit::device
