#include "train/gradient_clip.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"

namespace lastbit::train {
namespace {

using Arrays = std::vector<std::vector<float>>;

Arrays drawn(const std::vector<std::size_t>& sizes) {
  Arrays arrays;
  std::uint64_t word = 0;
  const core::RandomStream stream(4, "gradients");
  for (const std::size_t size : sizes) {
    arrays.emplace_back(size);
    for (float& value : arrays.back()) value = stream.uniform(word++) - 0.5F;
  }
  return arrays;
}

double norm(const Arrays& arrays) {
  const std::vector<std::span<const float>> spans(arrays.begin(), arrays.end());
  return gradient_norm<float>(spans);
}

double clip(Arrays& arrays, double max_norm) {
  const std::vector<std::span<float>> spans(arrays.begin(), arrays.end());
  return clip_gradients<float>(spans, max_norm);
}

std::string message_of(const auto& call) {
  try {
    call();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  return "";
}

TEST(GradientNorm, IsOverAllArraysTogether) {
  EXPECT_EQ(norm({{3, 0}, {}, {0, 4}, {12}}), 13);
  EXPECT_EQ(norm({}), 0);
  EXPECT_NEAR(norm({{3e38F, 3e38F}}) / (static_cast<double>(3e38F) * std::sqrt(2.0)), 1, 1e-15);  // FP32 overflows
}

// The documented order, written the slow way.
TEST(GradientNorm, FollowsTheDocumentedOrder) {
  const Arrays arrays = drawn({5, 65536, 65537, 200000, 8});
  double total = 0;
  for (const auto& array : arrays)
    for (std::size_t begin = 0; begin < array.size(); begin += 65536) {
      double lane[8] = {};
      for (std::size_t l = 0; l < 8; ++l)
        for (std::size_t i = begin + l; i < std::min(array.size(), begin + 65536); i += 8)
          lane[l] += static_cast<double>(array[i]) * static_cast<double>(array[i]);
      total += ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
    }
  for (const int threads : {1, 3}) {
    core::set_num_threads(threads);
    EXPECT_EQ(norm(arrays), std::sqrt(total));
  }
  core::set_num_threads(0);
}

TEST(ClipGradients, ScalesToTheLargestNorm) {
  Arrays arrays = drawn({70000, 3});
  const Arrays before = arrays;
  const double found = clip(arrays, 2.0);
  EXPECT_EQ(found, norm(before));
  const auto factor = static_cast<float>(2.0 / (found + 1e-6));
  for (std::size_t a = 0; a < arrays.size(); ++a)
    for (std::size_t i = 0; i < arrays[a].size(); ++i) ASSERT_EQ(arrays[a][i], before[a][i] * factor);
  EXPECT_NEAR(norm(arrays), 2.0, 1e-6);
}

TEST(ClipGradients, LeavesSmallOnesAlone) {
  Arrays arrays = drawn({100});
  const Arrays before = arrays;
  EXPECT_EQ(clip(arrays, 1000), norm(before));
  EXPECT_EQ(arrays, before);
  Arrays zeros{{0, 0}};
  EXPECT_EQ(clip(zeros, 1), 0);
  EXPECT_EQ(zeros, (Arrays{{0, 0}}));
}

TEST(ClipGradients, RefusesWhatIsNoNumberAndTouchesNothing) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    Arrays arrays = drawn({10, 70000});
    arrays[1][66000] = bad;
    const float before = arrays[0][0];
    EXPECT_TRUE(message_of([&] { (void)clip(arrays, 0.1); }).starts_with("gradient array 1: element 66000 is"));
    EXPECT_EQ(arrays[0][0], before);
  }
  const std::vector<double> huge{1e200};
  const std::vector<std::span<const double>> spans{huge};
  EXPECT_NE(message_of([&] { (void)gradient_norm<double>(spans); }), "");
}

TEST(ClipFactor, RefusesNormsOutsideTheirRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double max_norm : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()})
    EXPECT_NE(message_of([&] { (void)clip_factor(1, max_norm); }), "");
  for (const double found : {-1.0, nan, std::numeric_limits<double>::infinity()})
    EXPECT_NE(message_of([&] { (void)clip_factor(found, 1); }), "");
  EXPECT_EQ(clip_factor(0.5, 1), 1);
}

}  // namespace
}  // namespace lastbit::train
