#include "core/suggest.h"

#include <gtest/gtest.h>

#include <vector>

namespace lastbit::core {
namespace {

TEST(Suggest, EditDistance) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("hidden_szie", "hidden_size"), 1u);
}

TEST(Suggest, NamesTheClosestOrNothing) {
  const std::vector<std::string> units{"hopper_wgmma", "ada_mma", "ampere_mma"};
  EXPECT_EQ(suggestion("hoper_wgmma", units), " (did you mean 'hopper_wgmma'?)");
  EXPECT_EQ(suggestion("cdna3", units), "");
}

}  // namespace
}  // namespace lastbit::core
