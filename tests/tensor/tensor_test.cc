#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace lastbit::tensor {
namespace {

Tensor iota(Shape shape) {
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from<float>(std::move(shape), values);
}

TEST(Tensor, ShapesAndStrides) {
  const Tensor tensor = Tensor::zeros(DType::kBF16, {2, 3, 4});
  EXPECT_EQ(tensor.size(), 24);
  EXPECT_EQ(tensor.nbytes(), 48u);
  EXPECT_EQ(tensor.strides(), (Shape{12, 4, 1}));
  EXPECT_EQ(tensor.dim(-1), 4);
  EXPECT_EQ(tensor.values<std::uint16_t>().size(), 24u);  // codes
  EXPECT_THROW((void)tensor.values<float>(), core::Error);
}

TEST(Tensor, ScalarsAndEmptyTensors) {
  EXPECT_EQ(Tensor::zeros(DType::kF32, {}).size(), 1);
  EXPECT_EQ(Tensor::zeros(DType::kF32, {0, 5}).values<float>().size(), 0u);
}

TEST(Tensor, ViewsShareBytesAndClonesDoNot) {
  Tensor tensor = iota({2, 3});
  const Tensor copy = tensor.clone();
  const Tensor row = tensor.slice(0, 1, 2);
  const Tensor transposed = tensor.transpose(0, 1);
  tensor.mutable_values<float>()[3] = 30;
  EXPECT_EQ(row.values<float>()[0], 30);
  EXPECT_EQ(copy.values<float>()[3], 3);
  EXPECT_FALSE(transposed.is_contiguous());
  const Tensor dense = transposed.contiguous();
  EXPECT_EQ(std::vector<float>(dense.values<float>().begin(), dense.values<float>().end()),
            (std::vector<float>{0, 30, 1, 4, 2, 5}));
}

TEST(Tensor, ClonesOfViewsAreInTheViewsOwnOrder) {
  // Element [i, j, k] of iota({3, 4, 5}) is 20 i + 5 j + k.
  const auto clone_is = [](const Tensor& view, std::int64_t i0, std::int64_t j0, std::int64_t k0, bool turned) {
    const Tensor copy = view.clone();
    std::vector<float> expected;
    for (std::int64_t a = 0; a < view.dim(0); ++a)
      for (std::int64_t b = 0; b < view.dim(1); ++b)
        for (std::int64_t k = 0; k < view.dim(2); ++k)
          expected.push_back(static_cast<float>(20 * (i0 + (turned ? b : a)) + 5 * (j0 + (turned ? a : b)) + k0 + k));
    EXPECT_EQ(copy.shape(), view.shape());
    EXPECT_EQ(std::vector<float>(copy.values<float>().begin(), copy.values<float>().end()), expected);
  };
  const Tensor all = iota({3, 4, 5});
  clone_is(all.slice(2, 1, 4), 0, 0, 1, false);
  clone_is(all.slice(2, 2, 3), 0, 0, 2, false);
  clone_is(all.slice(1, 1, 3), 0, 1, 0, false);
  clone_is(all.slice(0, 1, 3).slice(1, 2, 3).slice(2, 0, 2), 1, 2, 0, false);
  clone_is(all.transpose(0, 1), 0, 0, 0, true);
  clone_is(all.transpose(0, 1).slice(2, 3, 5), 0, 0, 3, true);
}

TEST(Tensor, ReshapeKeepsTheCount) {
  EXPECT_EQ(iota({2, 6}).reshape({3, 4}).shape(), (Shape{3, 4}));
  EXPECT_THROW((void)iota({2, 6}).reshape({5}), core::Error);
}

TEST(Tensor, BorrowedBytesAreReadOnly) {
  const std::vector<float> values{1, 2};
  Tensor tensor = Tensor::borrow(DType::kF32, {2}, reinterpret_cast<const std::byte*>(values.data()), nullptr);
  EXPECT_EQ(tensor.values<float>()[1], 2);
  EXPECT_THROW((void)tensor.mutable_values<float>(), core::Error);
}

TEST(ElementCount, RefusesNegativeAndHugeShapes) {
  EXPECT_THROW((void)element_count({-1}), core::Error);
  EXPECT_THROW((void)element_count({std::int64_t{1} << 40, std::int64_t{1} << 40}), core::Error);
}

}  // namespace
}  // namespace lastbit::tensor
