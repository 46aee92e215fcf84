#include "sim/cluster/description.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lastbit::sim::cluster {
namespace {

TEST(Overrides, ChangeOneKeyAndLeaveTheRest) {
  nlohmann::json object = {{"a", {{"b", 1}, {"c", 2}}}, {"list", {10, 20}}};
  apply_overrides(object,
                  parse_overrides({"cluster.a.b=3.5", "cluster.list.1=\"x\"", "cluster.new=50 GB/s", "job.a.c=9"}),
                  "cluster");
  EXPECT_EQ(object["a"]["b"], 3.5);
  EXPECT_EQ(object["a"]["c"], 2);
  EXPECT_EQ(object["list"][1], "x");
  EXPECT_EQ(object["new"], "50 GB/s");
}

TEST(Overrides, RefuseWhatHasNoSubjectOrValue) {
  EXPECT_THROW((void)parse_overrides({"cluster.a"}), core::Error);
  EXPECT_THROW((void)parse_overrides({"clutser.a=1"}), core::Error);
  EXPECT_THROW((void)parse_overrides({"job=1"}), core::Error);
  EXPECT_THROW((void)parse_overrides({"job..a=1"}), core::Error);
  nlohmann::json object = {{"list", {10, 20}}, {"number", 1}};
  EXPECT_THROW(apply_overrides(object, parse_overrides({"job.list.2=1"}), "job"), core::Error);
  EXPECT_THROW(apply_overrides(object, parse_overrides({"job.number.x=1"}), "job"), core::Error);
}

TEST(Descriptions, AFolderIsNoFile) {
  try {
    (void)description_path("clusters", "/usr/", "cluster");
    FAIL() << "accepted";
  } catch (const core::Error& error) {
    EXPECT_STREQ(error.what(), "/usr/: is a folder, expected the .toml or .json file of a cluster");
  }
}

}  // namespace
}  // namespace lastbit::sim::cluster
