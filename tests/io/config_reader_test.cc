#include "io/config_reader.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lastbit::io {
namespace {

using nlohmann::json;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

ConfigReader reader_of(const json& object) { return {object, "f.json"}; }

TEST(ConfigReader, ReadsEveryType) {
  const ConfigReader reader = reader_of(
      {{"b", true}, {"i", 3}, {"l", 1e12}, {"d", 2}, {"s", "x"}, {"is", {1, 2}}, {"ds", {1, 2.5}}, {"ss", {"a", "b"}}});
  EXPECT_TRUE(reader.require<bool>("b"));
  EXPECT_EQ(reader.require<int>("i"), 3);
  EXPECT_EQ(reader.require<std::int64_t>("l"), 1000000000000);
  EXPECT_EQ(reader.require<double>("d"), 2.0);
  EXPECT_EQ(reader.require<std::string>("s"), "x");
  EXPECT_EQ(reader.require<std::vector<std::int64_t>>("is"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(reader.require<std::vector<double>>("ds"), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(reader.require<std::vector<std::string>>("ss"), (std::vector<std::string>{"a", "b"}));
  reader.finish();
}

TEST(ConfigReader, MissingAndNullAreOptional) {
  const ConfigReader reader = reader_of({{"a", nullptr}});
  EXPECT_EQ(reader.optional<int>("a"), std::nullopt);
  EXPECT_EQ(reader.optional<int>("b"), std::nullopt);
  EXPECT_EQ(reader.get_or<int>("b", 7), 7);
  EXPECT_FALSE(reader.has("a"));
  EXPECT_TRUE(reader.raw("b").is_null());
  EXPECT_EQ(error_of([&] { (void)reader.require<int>("b"); }), "f.json: no key 'b', expected an integer of 32 bits");
  EXPECT_FALSE(reader.optional_object("b").has_value());
}

TEST(ConfigReader, RefusesOtherTypesAndNumbersThatDoNotFit) {
  const ConfigReader reader = reader_of({{"s", "3"},
                                         {"f", 1.5},
                                         {"big", 1e300},
                                         {"long", 5000000000},
                                         {"unsigned", std::numeric_limits<std::uint64_t>::max()},
                                         {"inf", std::numeric_limits<double>::infinity()},
                                         {"mixed", {1, "a"}}});
  EXPECT_EQ(error_of([&] { (void)reader.require<int>("s"); }),
            "f.json: key 's': found string \"3\", expected an integer of 32 bits");
  EXPECT_NE(error_of([&] { (void)reader.require<std::int64_t>("f"); }), "");
  EXPECT_NE(error_of([&] { (void)reader.require<std::int64_t>("big"); }), "");
  EXPECT_NE(error_of([&] { (void)reader.require<int>("long"); }), "");
  EXPECT_NE(error_of([&] { (void)reader.require<std::int64_t>("unsigned"); }), "");
  EXPECT_NE(error_of([&] { (void)reader.require<double>("inf"); }), "");
  EXPECT_NE(error_of([&] { (void)reader.optional<bool>("f"); }), "");
  EXPECT_NE(error_of([&] { (void)reader.require<std::string>("f"); }), "");
  EXPECT_NE(error_of([&] { (void)reader.require<std::vector<std::int64_t>>("mixed"); }), "");
}

TEST(ConfigReader, BoundsAndChoices) {
  const ConfigReader reader = reader_of({{"n", 5}, {"x", 0.5}, {"kind", "dualpip"}});
  EXPECT_EQ(reader.require_in("n", std::int64_t{1}, std::int64_t{5}), 5);
  EXPECT_EQ(error_of([&] { (void)reader.require_in("n", std::int64_t{1}, std::int64_t{4}); }),
            "f.json: key 'n': found number 5, expected an integer from 1 to 4");
  EXPECT_EQ(reader.require_in("x", 0.0, 1.0), 0.5);
  EXPECT_NE(error_of([&] { (void)reader.require_in("x", 0.6, 1.0); }), "");
  EXPECT_NE(error_of([&] {
              (void)reader.require_one_of("kind", {"1f1b", "dualpipe"});
            }).find("did you mean 'dualpipe'?"),
            std::string::npos);
}

TEST(ConfigReader, NestedReadersNameTheDottedKey) {
  const ConfigReader reader =
      reader_of({{"fabric", {{"link", {{"speed", "fast"}}}}}, {"nodes", {{{"id", 1}}, {{"id", "x"}}}}});
  const ConfigReader link = reader.require_object("fabric").require_object("link");
  EXPECT_EQ(error_of([&] { (void)link.require<double>("speed"); }),
            "f.json: key 'fabric.link.speed': found string \"fast\", expected a finite number");
  const std::vector<ConfigReader> nodes = reader.require_objects("nodes");
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes[0].require<int>("id"), 1);
  EXPECT_NE(error_of([&] { (void)nodes[1].require<int>("id"); }).find("'nodes[1].id'"), std::string::npos);
  EXPECT_NE(error_of([&] { (void)reader.require_objects("fabric"); }).find("an array of objects"), std::string::npos);
  EXPECT_NE(error_of([&] { (void)reader.require_object("nodes"); }).find("expected an object"), std::string::npos);
}

TEST(ConfigReader, NestedReadersOutliveTheirParent) {
  const auto nested = [] {
    const json object{{"a", {{"b", 1}}}};
    return ConfigReader(object, "f.json").require_object("a");
  }();
  EXPECT_EQ(nested.require<int>("b"), 1);
}

TEST(ConfigReader, UnknownKeysAreRefusedWithASuggestion) {
  const ConfigReader reader = reader_of({{"layers", 1}, {"layrs", 2}});
  EXPECT_EQ(reader.require<int>("layers"), 1);
  EXPECT_EQ(error_of([&] { reader.finish(); }), "f.json: unknown key 'layrs' (did you mean 'layers'?)");
  reader.ignore("layrs");
  reader.finish();
  const ConfigReader nested = reader_of({{"a", {{"b", 1}}}}).require_object("a");
  EXPECT_NE(error_of([&] { nested.finish(); }).find("unknown key 'a.b'"), std::string::npos);
}

TEST(ConfigReader, WantsAnObject) {
  EXPECT_EQ(error_of([] { (void)reader_of(json::array({1})); }), "f.json: found an array of 1, expected an object");
}

}  // namespace
}  // namespace lastbit::io
