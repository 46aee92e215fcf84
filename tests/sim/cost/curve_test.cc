#include "sim/cost/curve.h"

#include <gtest/gtest.h>

namespace lastbit::sim::cost {
namespace {

const std::vector<double> kPoints{100, 200, 400};
const std::vector<double> kSeconds{1, 1.5, 3};

TEST(Curve, PassesThroughItsPoints) {
  for (std::size_t i = 0; i < kPoints.size(); ++i) {
    const Timed at = interpolate(kPoints, kSeconds, kPoints[i], 1);
    EXPECT_DOUBLE_EQ(at.seconds, kSeconds[i]);
    EXPECT_EQ(at.provenance, Provenance::kMeasured);
  }
}

TEST(Curve, NeverFallsAndSaysWhereItGuesses) {
  double last = 0;
  for (double x = 10; x < 5000; x *= 1.07) {
    const Timed at = interpolate(kPoints, kSeconds, x, 1);
    EXPECT_GE(at.seconds, last);
    last = at.seconds;
    const bool inside = x >= kPoints.front() && x <= kPoints.back();
    EXPECT_EQ(at.provenance, inside ? Provenance::kInterpolated : Provenance::kExtrapolated);
  }
  EXPECT_DOUBLE_EQ(interpolate(kPoints, kSeconds, 800, 1).seconds, 6);
  EXPECT_DOUBLE_EQ(interpolate(kPoints, kSeconds, 800, 2).seconds, 12);
  EXPECT_DOUBLE_EQ(interpolate(kPoints, kSeconds, 1, 1).seconds, 1);
}

}  // namespace
}  // namespace lastbit::sim::cost
