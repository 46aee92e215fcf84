#include "sim/report/perfetto.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/json.h"
#include "support/shared.h"

namespace lastbit::sim::report {
namespace {

TEST(ChromeTrace, WritesNamesSpansAndCounters) {
  const testing::TempDir dir;
  const std::string path = dir.file("trace.json");
  ChromeTrace trace(path);
  trace.name_process(3, "node \"A\"");
  trace.name_thread(3, 7, "compute");
  trace.span(3, 7, "F0.0", "forward", {0.5e-6}, {2.0000004});
  trace.counter(3, "in flight", {1e-3}, -4);
  EXPECT_FALSE(std::filesystem::exists(path));
  trace.finish();
  const nlohmann::json events = io::load_json(path).at("traceEvents");
  ASSERT_EQ(events.size(), 6u);
  EXPECT_EQ(events[0],
            nlohmann::json::parse(R"({"ph":"M","pid":3,"name":"process_name","args":{"name":"node \"A\""}})"));
  EXPECT_EQ(events[2],
            nlohmann::json::parse(R"({"ph":"M","pid":3,"tid":7,"name":"thread_name","args":{"name":"compute"}})"));
  EXPECT_EQ(events[4], nlohmann::json::parse(R"({"ph":"X","pid":3,"tid":7,"ts":0.5,"dur":1999999.9,
                                                 "name":"F0.0","cat":"forward"})"));
  EXPECT_EQ(events[5],
            nlohmann::json::parse(R"({"ph":"C","pid":3,"ts":1000.0,"name":"in flight","args":{"value":-4}})"));
}

// Perfetto nests spans by time: two that touch must not overlap once rounded.
TEST(ChromeTrace, SpansThatTouchStillTouchAfterRounding) {
  const testing::TempDir dir;
  ChromeTrace trace(dir.file("trace.json"));
  const double third_s = 1e-9 / 3;
  for (int i = 0; i < 30; ++i) trace.span(0, 0, "s", "c", {i * 5 * third_s}, {(i + 1) * 5 * third_s});
  trace.finish();
  std::int64_t end_ns = 0;
  const nlohmann::json written = io::load_json(dir.file("trace.json"));
  for (const nlohmann::json& event : written.at("traceEvents")) {
    const std::int64_t start_ns = std::llround(event.at("ts").get<double>() * 1000);
    EXPECT_EQ(start_ns, end_ns);
    end_ns = start_ns + std::llround(event.at("dur").get<double>() * 1000);
  }
  EXPECT_EQ(end_ns, 50);
}

TEST(ChromeTrace, LargeTracesAreFlushedAsTheyGrow) {
  const testing::TempDir dir;
  ChromeTrace trace(dir.file("trace.json"));
  for (int i = 0; i < 40000; ++i) trace.span(0, 0, "span", "c", {i * 1.0}, {i + 1.0});
  trace.finish();
  std::ifstream file(dir.file("trace.json"));
  EXPECT_EQ(nlohmann::json::parse(file).at("traceEvents").size(), 40000u);
}

TEST(ChromeTrace, RefusesTimesThatCannotBeWritten) {
  const testing::TempDir dir;
  ChromeTrace trace(dir.file("trace.json"));
  for (const double bad : {-1.0, 1e10, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_THROW(trace.span(0, 0, "s", "c", {0}, {bad}), core::Error);
}

}  // namespace
}  // namespace lastbit::sim::report
