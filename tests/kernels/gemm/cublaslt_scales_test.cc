#include "kernels/gemm/cublaslt_scales.h"

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/simt/device_array.h"
#include "kernels/simt/every_order.h"

namespace lastbit::kernels {
namespace {

TEST(CublasltScales, AreTurnedAndPadded) {
  const CublasltScales shape{6, 300, 640};  // 5 blocks of K, 3 of N
  std::vector<float> a(30);
  std::vector<float> b(15);
  std::iota(a.begin(), a.end(), 1.0F);
  std::iota(b.begin(), b.end(), 100.0F);
  ASSERT_EQ(shape.count_a(), 30);
  ASSERT_EQ(shape.count_b(), 3 * 8);
  const std::vector<float> placed = simt::in_every_order("scales_for_cublaslt", [&] {
    const simt::DeviceArray<float> from_a("from_a", std::span<const float>(a));
    const simt::DeviceArray<float> from_b("from_b", std::span<const float>(b));
    const simt::DeviceArray<float> to_a("to_a", 30);
    const simt::DeviceArray<float> to_b("to_b", 24);
    scales_for_cublaslt(shape, from_a.data(), from_b.data(), to_a.data(), to_b.data());
    std::vector<float> both = to_a.download();
    const std::vector<float> rest = to_b.download();
    both.insert(both.end(), rest.begin(), rest.end());
    return both;
  });
  for (std::size_t row = 0; row < 6; ++row)
    for (std::size_t block = 0; block < 5; ++block) EXPECT_EQ(placed[block * 6 + row], a[row * 5 + block]);
  for (std::size_t row = 0; row < 3; ++row)
    for (std::size_t block = 0; block < 8; ++block)
      EXPECT_EQ(placed[30 + row * 8 + block], block < 5 ? b[row * 5 + block] : 0.0F);
}

}  // namespace
}  // namespace lastbit::kernels
