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

TEST(Label, IsReadAsItIsWritten) {
  for (const LabelStyle style : {LabelStyle::kChunk, LabelStyle::kDirection}) {
    for (const Verb verb : {Verb::kForward, Verb::kBackward, Verb::kBackwardInput, Verb::kWeight, Verb::kFused}) {
      const Op op{verb, {37, 2}, verb == Verb::kFused ? Chunk{12, 1} : Chunk{}};
      EXPECT_EQ(parse_label(label(op, style), style), op) << label(op, style);
    }
  }
  EXPECT_EQ(parse_label("F3", LabelStyle::kChunk), (Op{Verb::kForward, {3, 0}, {}}));
  EXPECT_EQ(parse_label("Bi3.1", LabelStyle::kChunk), (Op{Verb::kBackwardInput, {3, 1}, {}}));
  EXPECT_EQ(parse_label("BW0.3", LabelStyle::kDirection), (Op{Verb::kBackward, {3, 0}, {}}));
  for (const char* bad : {"", "F", "F-1", "F1.", "F1.x", "f1", "F1.40000", "F0&", "F0&F1", "B0&BW1", "F1 ", "F 1", "W"})
    EXPECT_FALSE(parse_label(bad, LabelStyle::kChunk).has_value()) << bad;
}

TEST(HasFused, IsTrueOfTheSchedulesThatOverlap) {
  EXPECT_TRUE(has_fused(build("dualpipe", {.ranks = 4, .micro_batches = 8})));
  EXPECT_FALSE(has_fused(build("1f1b", {.ranks = 4, .micro_batches = 8})));
}

}  // namespace
}  // namespace lastbit::sim::schedule
