#include "tensor/cast.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace lastbit::tensor {
namespace {

Tensor f32(const std::vector<float>& values) {
  return Tensor::from<float>({static_cast<std::int64_t>(values.size())}, values);
}

TEST(Cast, GoesThereAndBack) {
  const std::vector<float> values{0.0F, 1.0F, -2.5F, 448.0F, 0x1p-9F};
  for (const DType dtype : {DType::kE4M3, DType::kBF16, DType::kF16, DType::kF64}) {
    const Tensor codes = cast(f32(values), dtype);
    EXPECT_EQ(codes.dtype(), dtype);
    const Tensor back = to_f32(codes);
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(back.values<float>()[i], values[i]) << name(dtype);
  }
}

TEST(Cast, SaturatesEightBitsAndOverflowsSixteen) {
  const Tensor large = f32({1e9F});
  EXPECT_EQ(to_f32(cast(large, DType::kE4M3)).values<float>()[0], 448.0F);
  EXPECT_TRUE(std::isinf(to_f32(cast(large, DType::kF16)).values<float>()[0]));
}

TEST(Cast, TakesViewsAndEmptyTensors) {
  const std::array<float, 6> values{1, 2, 3, 4, 5, 6};
  const Tensor matrix = Tensor::from<float>({2, 3}, values);
  const Tensor bf16 = cast(matrix.transpose(0, 1), DType::kBF16);
  EXPECT_EQ(bf16.shape(), (Shape{3, 2}));
  EXPECT_EQ(to_f32(bf16).values<float>()[1], 4.0F);
  EXPECT_EQ(to_f32(Tensor::empty(DType::kE5M2, {0, 4})).size(), 0);
}

TEST(Cast, BF16KeepsTheBitsOfNan) {
  const std::array<std::uint16_t, 1> codes{0x7f81};
  const Tensor nan = Tensor::from<std::uint16_t>({1}, codes).view_as(DType::kBF16);
  EXPECT_EQ(to_f32(nan).values<std::uint32_t>()[0], 0x7f810000U);
}

}  // namespace
}  // namespace lastbit::tensor
