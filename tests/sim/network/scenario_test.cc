#include "sim/network/scenario.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lastbit::sim::network {
namespace {

using nlohmann::json;

json small() {
  return {{"links", {{{"id", 7}, {"capacity_Bps", 1e9}}, {{"id", 3}, {"capacity_Bps", 2e9}, {"latency_s", 1e-6}}}},
          {"flows", {{{"size_B", 10}, {"route", {3, 7}}}}}};
}

std::string refused(const json& document) {
  try {
    (void)read_scenario(document, "s.json");
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    return error.what();
  }
  return "accepted";
}

// The message for `small()` with the value at `pointer` replaced.
std::string with(const char* pointer, const json& value) {
  json document = small();
  document[json::json_pointer(pointer)] = value;
  return refused(document);
}

TEST(Scenario, ReadsIdsThatAreNotPlacesAndFillsInDefaults) {
  const Scenario scenario = read_scenario(small(), "s.json");
  EXPECT_EQ(scenario.sharing, Sharing::kMaxMin);
  ASSERT_EQ(scenario.flows.size(), 1U);
  EXPECT_EQ(scenario.flows.route(0)[0], 1U);
  EXPECT_EQ(scenario.flows.route(0)[1], 0U);
  EXPECT_EQ(scenario.flows.start_s(0), 0);
  EXPECT_EQ(scenario.links.latency_s[1], 1e-6);
}

TEST(Scenario, NamesWhatItRefuses) {
  EXPECT_EQ(with("/links/0/capacity_Bps", 0),
            "s.json: links[0]: key 'capacity_Bps': found number 0, expected a number from 1e-09 to 1e+24");
  EXPECT_NE(with("/links/0/capacity_Bps", -1).find("capacity_Bps"), std::string::npos);
  EXPECT_NE(with("/links/0/capacity_Bps", "1 GB/s").find("string \"1 GB/s\""), std::string::npos);
  EXPECT_NE(with("/links/0/latency_s", -1e-6).find("latency_s"), std::string::npos);
  EXPECT_NE(with("/links/1/id", 7).find("links[1]: key 'id': 7 is there twice"), std::string::npos);
  EXPECT_NE(with("/links/0/capacity_bps", 1).find("did you mean 'capacity_Bps'?"), std::string::npos);
  EXPECT_NE(with("/flows/0/route", json::array()).find("found no link"), std::string::npos);
  EXPECT_NE(with("/flows/0/route/0", 4).find("flows[0]: key 'route': there is no link with id 4"), std::string::npos);
  EXPECT_NE(with("/flows/0/route/0", 0.5).find("whole number"), std::string::npos);
  EXPECT_NE(with("/flows/0/size_B", -1).find("size_B"), std::string::npos);
  EXPECT_NE(with("/flows/0/size_B", nullptr).find("key 'size_B' is missing"), std::string::npos);
  EXPECT_NE(with("/flows/0/start_s", -1).find("start_s"), std::string::npos);
  EXPECT_NE(with("/flows/0/start_ms", 1).find("unknown key 'start_ms' (did you mean 'start_s'?)"), std::string::npos);
  EXPECT_NE(with("/sharing", "max-min").find("did you mean 'maxmin'?"), std::string::npos);
  EXPECT_NE(
      with("/units", {{"capacity", "Gb/s"}}).find("key 'units.capacity': found string \"Gb/s\", expected 'bytes/s'"),
      std::string::npos);
  EXPECT_NE(with("/units", {{"speed", "m/s"}}).find("unknown key 'units.speed'"), std::string::npos);
  EXPECT_NE(with("/expected", {{"completion_s", {1, 2}}}).find("found 2 values, expected 1"), std::string::npos);
  EXPECT_NE(with("/link", 1).find("unknown key 'link'"), std::string::npos);
  EXPECT_NE(with("/links", 1).find("array of objects"), std::string::npos);
  EXPECT_NE(with("/flows/0", 1).find("flows[0]: found number 1, expected an object"), std::string::npos);
  EXPECT_NE(refused(json::array()).find("expected an object"), std::string::npos);
  EXPECT_NE(refused({{"links", json::array()}}).find("key 'flows' is missing"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::sim::network
