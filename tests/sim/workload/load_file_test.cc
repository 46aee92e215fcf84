#include "sim/workload/load_file.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "support/shared.h"

namespace lastbit::sim::workload {
namespace {

std::string refusal_of_text(const std::string& text) {
  try {
    static_cast<void>(parse_load_file(text, "loads.json"));
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  return "accepted";
}

TEST(LoadFile, ReadsOneLayerSeveralOrAnObject) {
  EXPECT_EQ(parse_load_file("[1, 2.5]", "f").loads, (LayerLoads{{1, 2.5}}));
  EXPECT_EQ(parse_load_file("[[1, 2], [3, 4]]", "f").loads, (LayerLoads{{1, 2}, {3, 4}}));
  const LoadFile file = parse_load_file(R"({"name": "x", "weight": [[1, 2]], "num_replicas": 4, "num_gpus": 2,
                                           "logical_count": [[1, 1]]})",
                                        "f");
  EXPECT_EQ(file.replicas, 4);
  EXPECT_EQ(file.gpus, 2);
  EXPECT_FALSE(file.nodes.has_value());
}

TEST(LoadFile, RefusesWhatIsNoLoad) {
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"[]", "an array of 0"},
           {"3", "number 3"},
           {"[1, -2]", "load 1: found number -2"},
           {"[1, \"x\"]", "load 1: found string"},
           {"[[1, 2], [1]]", "layer 1: found 1 experts, expected 2"},
           {"[[1], 2]", "layer 1: found number 2"},
           {"[[]]", "layer 0: found an array of 0"},
           {"{\"num_gpus\": 2}", "no key 'weight'"},
           {"{\"weight\": [1], \"num_gpu\": 2}", "unknown key 'num_gpu' (did you mean 'num_gpus'?"},
           {"{\"weight\": [1], \"num_gpus\": 1.5}", "num_gpus"},
           {"[1", "loads.json:1:"}})
    EXPECT_NE(refusal_of_text(text).find(part), std::string::npos) << text << ": " << refusal_of_text(text);
}

TEST(LoadFile, ReadsTheCountsOfATrace) {
  const testing::TempDir dir;
  io::RoutingTrace trace;
  trace.experts = 2;
  trace.top_k = 1;
  trace.layers = {3};
  trace.source = "t";
  io::append_step(trace, 0, std::vector<std::uint16_t>{0, 1, 1}, false);
  io::append_step(trace, 1, std::vector<std::uint16_t>{1}, false);
  io::save_routing_trace(dir.file("t.h5"), trace);
  EXPECT_EQ(read_load_file(dir.file("t.h5")).loads, (LayerLoads{{1, 3}}));
}

}  // namespace
}  // namespace lastbit::sim::workload
