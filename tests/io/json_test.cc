#include "io/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lastbit::io {
namespace {

std::string error_of(const std::string& text) {
  try {
    (void)parse_json(text, "f.json");
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return "";
}

TEST(Json, ReadsAllKindsOfValues) {
  const nlohmann::json value = parse_json(R"({"a":[1,-2,3.5,true,null,"x"],"b":{"a":1},"c":{"a":2}})", "f.json");
  EXPECT_EQ(value.at("a").size(), 6u);
  EXPECT_EQ(value.at("c").at("a"), 2);
}

TEST(Json, ErrorsNameLineAndColumn) {
  EXPECT_EQ(error_of("{\n  \"a\": 1,\n  b\n}").rfind("f.json:3:3: ", 0), 0u) << error_of("{\n  \"a\": 1,\n  b\n}");
  EXPECT_EQ(error_of("").rfind("f.json:1:1: ", 0), 0u) << error_of("");
  EXPECT_EQ(error_of("[1,2").rfind("f.json:1:5: ", 0), 0u) << error_of("[1,2");
  for (const char* text : {"{,}", "[1] 2", "{\"a\":}", "nul", "\"\n\"", "\"\xff\"", "1e999", "{'a':1}", "[1,]"})
    EXPECT_NE(error_of(text), "");
}

TEST(Json, KeysAreThereOnce) {
  EXPECT_EQ(error_of(R"({"a":1,"b":{"c":1,"c":2}})"), "f.json: key 'c' is there twice in one object");
  EXPECT_NE(error_of(R"([{"a":1},{"a":1,"a":1}])"), "");
}

TEST(Json, ALongArrayOfObjectsTakesTimeLinearInItsLength) {
  // In quadratic time this would take hours.
  constexpr std::size_t kObjects = 300000;
  std::string text = "[{\"a\":{}}";
  for (std::size_t i = 1; i < kObjects; ++i) text += ",{\"a\":{}}";
  EXPECT_EQ(parse_json(text + "]", "f.json").size(), kObjects);
}

TEST(Json, DeepNestingIsHarmless) {
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_TRUE(parse_json(deep, "f.json").is_array());
  EXPECT_NE(error_of(std::string(100000, '[')), "");
}

TEST(Json, DescriptionsAreShort) {
  EXPECT_EQ(describe_json(3), "number 3");
  EXPECT_EQ(describe_json("x\ny"), "string \"x\\ny\"");
  EXPECT_EQ(describe_json(nullptr), "null");
  EXPECT_EQ(describe_json({{"a", 1}}), "an object of 1 keys");
  EXPECT_LT(describe_json(std::string(1000, 'x')).size(), 80u);
}

}  // namespace
}  // namespace lastbit::io
