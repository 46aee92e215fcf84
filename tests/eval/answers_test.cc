#include "eval/answers.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace lastbit::eval {
namespace {

TEST(Answers, NormalisesAsSquadDoes) {
  EXPECT_EQ(normalised_answer("  The  Eiffel-Tower, \tin Paris! "), "eiffeltower in paris");
  EXPECT_TRUE(exact_match("the Paris.", {"London", "paris"}));
  EXPECT_FALSE(exact_match("Paris, France", {"paris"}));
}

TEST(Answers, F1CountsSharedWords) {
  // precision 2/3, recall 2/4
  EXPECT_DOUBLE_EQ(f1_score("red red fox", {"red fox jumps high"}), 2 * (2.0 / 3) * 0.5 / (2.0 / 3 + 0.5));
  EXPECT_DOUBLE_EQ(f1_score("x", {"y", "x"}), 1);
  EXPECT_DOUBLE_EQ(f1_score("the", {"a"}), 1);
  EXPECT_DOUBLE_EQ(f1_score("", {"word"}), 0);
}

TEST(Answers, PassAtK) {
  EXPECT_DOUBLE_EQ(pass_at_k(10, 3, 1), 0.3);
  EXPECT_NEAR(pass_at_k(5, 2, 3), 1 - 1.0 / 10, 1e-15);  // C(3, 3) / C(5, 3)
  EXPECT_DOUBLE_EQ(pass_at_k(5, 3, 3), 1);
  EXPECT_DOUBLE_EQ(pass_at_k(5, 0, 5), 0);
  EXPECT_THROW((void)pass_at_k(5, 6, 1), core::Error);
  EXPECT_THROW((void)pass_at_k(5, 1, 6), core::Error);
}

}  // namespace
}  // namespace lastbit::eval
