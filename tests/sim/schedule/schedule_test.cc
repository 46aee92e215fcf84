#include "sim/schedule/schedule.h"

#include <gtest/gtest.h>

#include "sim/schedule/build.h"

namespace lastbit::sim::schedule {
namespace {

TEST(Label, IsWrittenAsTheReferencesDo) {
  const Op fused{Verb::kFused, {3, 0}, {1, 1}};
  EXPECT_EQ(label(fused, LabelStyle::kDirection), "F0.3&B1.1");
  EXPECT_EQ(label({Verb::kBackwardInput, {2, 1}, {}}, LabelStyle::kDirection), "Bi1.2");
  EXPECT_EQ(label({Verb::kBackward, {2, 1}, {}}, LabelStyle::kDirection), "B1.2");
  EXPECT_EQ(label({Verb::kBackward, {2, 1}, {}}, LabelStyle::kChunk), "BW2.1");
  EXPECT_EQ(label({Verb::kBackwardInput, {2, 1}, {}}, LabelStyle::kChunk), "B2.1");
  EXPECT_EQ(label({Verb::kWeight, {2, 1}, {}}, LabelStyle::kChunk), "W2.1");
  EXPECT_EQ(label({Verb::kForward, {2, 1}, {}}, LabelStyle::kChunk), "F2.1");
}

TEST(HasFused, IsTrueOfTheSchedulesThatOverlap) {
  EXPECT_TRUE(has_fused(build("dualpipe", {.ranks = 4, .micro_batches = 8})));
  EXPECT_FALSE(has_fused(build("1f1b", {.ranks = 4, .micro_batches = 8})));
}

}  // namespace
}  // namespace lastbit::sim::schedule
