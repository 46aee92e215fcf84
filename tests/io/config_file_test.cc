#include "io/config_file.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/atomic_file.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

std::string error_of_file(const std::string& path) {
  try {
    (void)load_config_file(path);
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted " << path;
  return "";
}

TEST(ConfigFile, TomlAndJsonGiveTheSameValue) {
  const testing::TempDir dir;
  write_text_file(dir.file("a.toml"),
                  "name = \"x\"\nlayers = 61\nscale = 1.5\non = true\nlist = [1, 2]\n[fabric]\nspeed = \"400 Gb/s\"\n"
                  "[[nodes]]\nid = 1\n[[nodes]]\nid = 2\n");
  write_text_file(dir.file("a.json"), R"({"name":"x","layers":61,"scale":1.5,"on":true,"list":[1,2],
                  "fabric":{"speed":"400 Gb/s"},"nodes":[{"id":1},{"id":2}]})");
  EXPECT_EQ(load_config_file(dir.file("a.toml")), load_config_file(dir.file("a.json")));
}

TEST(ConfigFile, ErrorsNameFileLineAndColumn) {
  const testing::TempDir dir;
  const auto error_with = [&](const std::string& name, const std::string& text) {
    write_text_file(dir.file(name), text);
    return error_of_file(dir.file(name));
  };
  EXPECT_NE(error_with("a.toml", "a = 1\nb = = 2\n").find("a.toml:2:"), std::string::npos);
  EXPECT_NE(error_with("a.toml", "a = 1\na = 2\n").find("a.toml:2:"), std::string::npos);
  EXPECT_NE(error_with("a.toml", "a = 1\nb = 2024-01-01\n").find("a.toml:2:5: a date or time"), std::string::npos);
  EXPECT_NE(error_with("a.json", "{\n\"a\" 1}").find("a.json:2:"), std::string::npos);
  EXPECT_NE(error_with("a.json", R"({"a":1,"a":2})").find("'a' is there twice"), std::string::npos);
  EXPECT_NE(error_with("a.json", "[1]").find("found an array of 1, expected an object"), std::string::npos);
  EXPECT_NE(error_with("a.yaml", "a: 1").find("extension '.yaml'"), std::string::npos);
  EXPECT_NE(error_of_file(dir.file("none.json")).find("no such file"), std::string::npos);
}

TEST(ConfigFile, DeepTomlIsRefusedNotCrashed) {
  EXPECT_THROW((void)parse_toml("a = " + std::string(100000, '['), "f.toml"), core::Error);
}

}  // namespace
}  // namespace lastbit::io
