#include "sim/train/published.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "io/config_file.h"
#include "io/config_reader.h"
#include "sim/cluster/description.h"

namespace lastbit::sim::train {
namespace {

constexpr std::array kScalars{"step_s",
                              "tokens_per_day",
                              "tokens_per_gpu_s",
                              "tflops_per_gpu_causal",
                              "tflops_per_gpu_noncausal",
                              "mfu_causal",
                              "mfu_noncausal",
                              "gpu_hours_total",
                              "usd_total"};

void read_measurement(const io::ConfigReader& entry, const std::string& job, Published& published) {
  const auto jobs = entry.require<std::vector<std::string>>("jobs");
  const bool wanted = std::find(jobs.begin(), jobs.end(), job) != jobs.end();
  const std::string source = entry.require<std::string>("source");
  const std::string status = entry.require<std::string>("status");
  const auto take = [&](const std::string& key, double value) {
    if (wanted) published[key] = {value, source, status};
  };
  for (const char* key : kScalars) {
    if (entry.has(key)) take(key, entry.require_in(key, 0.0, 1e18));
  }
  if (const auto rows = entry.optional_object("breakdown")) {
    for (const std::string& key : rows->keys()) take("breakdown." + key, rows->require_in(key, 0.0, 1e18));
    rows->finish();
  }
  if (const auto hours = entry.optional_object("gpu_hours")) {
    for (const std::string& key : hours->keys()) {
      take("phases." + key + ".gpu_hours", hours->require_in(key, 0.0, 1e18));
    }
    hours->finish();
  }
  entry.finish();
}

}  // namespace

Published published_figures(const std::string& model, const std::string& cluster, const std::string& job) {
  Published published;
  for (const std::string& name : cluster::description_names("measurements/training")) {
    const std::string path = cluster::description_path("measurements/training", name, "measurement");
    const io::ConfigReader reader(io::load_config_file(path), path);
    (void)reader.require_in("schema", std::int64_t{1}, std::int64_t{1});
    const bool same =
        reader.require<std::string>("model") == model && reader.require<std::string>("cluster") == cluster;
    for (const io::ConfigReader& entry : reader.require_objects("measurement")) {
      read_measurement(entry, same ? job : "", published);
    }
    reader.finish();
  }
  return published;
}

}  // namespace lastbit::sim::train
