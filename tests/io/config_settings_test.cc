#include "io/config_settings.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lastbit::io {
namespace {

TEST(ConfigSettings, ChangesValuesAndMakesObjectsOnTheWay) {
  nlohmann::json object = {{"a", {{"b", 1}}}, {"list", {{{"x", 1}}}}};
  apply_settings(object, {"a.b=2.5", "c.d.e=text", "list.0.x=[1,2]", "f=true", "g=a=b"});
  EXPECT_EQ(object["a"]["b"], 2.5);
  EXPECT_EQ(object["c"]["d"]["e"], "text");
  EXPECT_EQ(object["list"][0]["x"].size(), 2U);
  EXPECT_EQ(object["f"], true);
  EXPECT_EQ(object["g"], "a=b");
}

TEST(ConfigSettings, RefusesWhatHasNoPlace) {
  nlohmann::json object = {{"a", 1}, {"list", {1}}};
  for (const std::string setting : {"a", "=1", "a..b=1", "a.b=1", "list.1=2", "list.x=2", ".a=1", "a.=1"})
    EXPECT_THROW(apply_settings(object, {setting}), core::Error) << setting;
}

}  // namespace
}  // namespace lastbit::io
