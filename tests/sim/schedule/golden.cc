#include "golden.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/shared.h"

namespace lastbit::sim::schedule {
namespace {

Golden read(const nlohmann::json& file) {
  Golden golden;
  golden.name = file.at("name");
  golden.kind = file.at("schedule");
  golden.params.ranks = file.at("PP_ranks");
  golden.params.micro_batches = file.at("micro_batches");
  golden.params.chunks = file.value("virtual_chunks", 1);
  const nlohmann::json& durations = file.at("durations");
  golden.times = {{durations.at("F")}, {durations.at("B_full")}, {durations.at("W")}};
  golden.fused = {durations.value("FB_overlapped", golden.times.forward.s + golden.times.backward.s)};
  golden.params.stages.assign(static_cast<std::size_t>(stage_count(find_kind(golden.kind), golden.params)),
                              golden.times);
  const nlohmann::json& result = file.at("result");
  golden.total = result.at("total");
  golden.formula_bubble = result.at("formula_bubble");
  result.at("rank_finish").get_to(golden.finish);
  result.at("rank_busy").get_to(golden.busy);
  result.at("rank_bubble").get_to(golden.bubble);
  const char* peak = result.contains("peak_inflight_activations_per_rank") ? "peak_inflight_activations_per_rank"
                                                                           : "peak_inflight_forward_chunks_per_rank";
  result.at(peak).get_to(golden.peak);
  if (file.contains("order_per_rank")) file.at("order_per_rank").get_to(golden.order);
  return golden;
}

}  // namespace

std::vector<Golden> load_golden(const std::string& kind) {
  std::vector<Golden> all;
  for (const auto& entry : std::filesystem::directory_iterator(testing::shared_path("groundtruth/pipeline"))) {
    std::ifstream stream(entry.path());
    Golden golden = read(nlohmann::json::parse(stream));
    if (golden.kind == kind) all.push_back(std::move(golden));
  }
  std::sort(all.begin(), all.end(), [](const Golden& a, const Golden& b) { return a.name < b.name; });
  return all;
}

}  // namespace lastbit::sim::schedule
