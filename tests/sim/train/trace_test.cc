#include "sim/train/trace.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "io/json.h"
#include "support/shared.h"

namespace lastbit::sim::train {
namespace {

TEST(TraceRanks, NumbersAndRanges) {
  EXPECT_TRUE(parse_trace_ranks("pipeline", 16).pipeline);
  EXPECT_EQ(parse_trace_ranks("all", 4).ranks, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(parse_trace_ranks("5,0-2,1", 8).ranks, (std::vector<int>{0, 1, 2, 5}));
  for (const char* wrong : {"8", "0-8", "a", "1-", "-1", "5-3", "0,5-3"}) {
    EXPECT_THROW((void)parse_trace_ranks(wrong, 8), core::Error) << wrong;
  }
}

TEST(WriteTrace, RanksOfTheWorldDoWhatTheirPipelineRankDoes) {
  ForecastRequest request;
  request.model = "deepseek-v3";
  request.cluster = "h800-2048";
  request.job = "v3-pretrain";
  request.samples = 0;
  const Forecast forecast = forecast_training(request);
  const testing::TempDir folder;
  write_trace(forecast, folder.file("t.json"), parse_trace_ranks("127,128", 2048));
  std::map<int, int> spans;
  std::set<std::string> names;
  const nlohmann::json trace = io::load_json(folder.file("t.json"));
  for (const nlohmann::json& event : trace.at("traceEvents")) {
    if (event.at("ph") == "X" && event.at("pid") == 0) ++spans[event.at("tid").get<int>()];
    if (event.at("ph") == "M" && event.at("name") == "thread_name") {
      names.insert(event.at("args").at("name").get<std::string>());
    }
  }
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[127], static_cast<int>(forecast.main().lists.order[0].size()) + 1);
  EXPECT_TRUE(names.contains("rank 127 (pipeline rank 0)"));
  EXPECT_TRUE(names.contains("rank 128 (pipeline rank 1)"));
  EXPECT_TRUE(names.contains("link 0 to 1"));
  EXPECT_TRUE(names.contains("link 1 to 0"));
}

}  // namespace
}  // namespace lastbit::sim::train
