// The norm of gradients and what it scales them by, against train/gradient_clip.h.
#include "kernels/training/gradient_clip.h"

#include <limits>

#include "tests/kernels/typed_values.h"
#include "train/gradient_clip.h"

namespace lastbit::kernels {
namespace {

struct ClipResult {
  double norm;
  float factor;
  std::vector<float> scaled;  // one array after the other
};

// All in double, so that in_every_order() compares one array.
ClipResult run_clip(const std::vector<std::vector<float>>& arrays, double max_norm, Version version) {
  std::size_t ranges = 0;
  for (const auto& array : arrays) ranges += (array.size() + kNormRange - 1) / kNormRange;
  const std::vector<double> all = simt::in_every_order("clip_gradients", [&] {
    const simt::DeviceArray<double> sums("sums", ranges);
    const simt::DeviceArray<double> norm("norm", 1);
    const simt::DeviceArray<float> factor("factor", 1);
    std::vector<std::unique_ptr<simt::DeviceArray<float>>> owned;
    std::size_t first = 0;
    for (const auto& array : arrays) {
      owned.push_back(std::make_unique<simt::DeviceArray<float>>("gradient", std::span<const float>(array)));
      sum_squares(owned.back()->data(), array.size(), sums.data() + first, version);
      first += (array.size() + kNormRange - 1) / kNormRange;
    }
    clip_factor(sums.data(), ranges, max_norm, norm.data(), factor.data());
    std::vector<double> results{norm.download()[0], static_cast<double>(factor.download()[0])};
    for (const auto& gradient : owned) {
      scale_values(gradient->data(), gradient->size(), factor.data(), version);
      for (const float value : gradient->download()) results.push_back(static_cast<double>(value));
    }
    return results;
  });
  ClipResult result{all[0], static_cast<float>(all[1]), {}};
  for (std::size_t i = 2; i < all.size(); ++i) result.scaled.push_back(static_cast<float>(all[i]));
  return result;
}

// Sums of squares in double, in two orders: the norm is off by half of count 2^-53 relatively.
TEST(GradientClip, NormAndScaledGradients) {
  for (const double max_norm : {1.0, 1e6})
    for (const Version version : {Version::kObvious, Version::kTuned}) {
      SCOPED_TRACE(::testing::Message() << max_norm << ", " << name_of(version));
      std::vector<std::vector<float>> arrays{draw_typed<float>(kNormRange + 5, "a"), draw_typed<float>(1037, "b")};
      const ClipResult result = run_clip(arrays, max_norm, version);
      const std::vector<std::span<float>> spans{arrays[0], arrays[1]};
      const double norm = train::clip_gradients<float>(spans, max_norm);
      if (version == Version::kObvious)
        EXPECT_EQ(result.norm, norm);
      else
        EXPECT_NEAR(result.norm, norm, norm * (kNormRange + 1042) * 0x1p-54);
      // A norm that is off by so little gives the same FP32 factor unless it lies on the edge of two: it does not here.
      std::vector<float> expected = arrays[0];
      expected.insert(expected.end(), arrays[1].begin(), arrays[1].end());
      expect_bits<float>("gradient", result.scaled, 0, expected);
      EXPECT_EQ(result.factor, static_cast<float>(train::clip_factor(norm, max_norm)));
    }
}

TEST(GradientClip, WhatIsNotFiniteShowsInTheNorm) {
  std::vector<std::vector<float>> arrays{draw_typed<float>(70, "a")};
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    arrays[0][33] = bad;
    for (const Version version : {Version::kObvious, Version::kTuned})
      EXPECT_FALSE(std::isfinite(run_clip(arrays, 1, version).norm));
  }
}

}  // namespace
}  // namespace lastbit::kernels
