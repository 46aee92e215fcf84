#include "sim/cost/calibration.h"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "io/data_dir.h"
#include "sim/cluster/quantity.h"
#include "sim/workload/routing.h"

namespace lastbit::sim::cost {
namespace {

using cluster::Dimension;
using cluster::require_quantity;
using workload::OpKind;

constexpr double kMicrosecond = 1e-6;
const std::vector<std::string> kKernels{"dense", "dense_wgrad", "grouped", "grouped_wgrad"};

OpKind gemm_kind(const io::ConfigReader& row) {
  static const std::map<std::string, OpKind> kinds{{"dense", OpKind::kGemm},
                                                   {"dense_wgrad", OpKind::kGemmWgrad},
                                                   {"grouped", OpKind::kGroupedGemm},
                                                   {"grouped_wgrad", OpKind::kGroupedGemmWgrad}};
  return kinds.at(row.require_one_of("kernel", kKernels));
}

OpKind attention_kind(const io::ConfigReader& row) {
  return row.require_one_of("pass", {"forward", "backward"}) == "forward" ? OpKind::kAttentionForward
                                                                          : OpKind::kAttentionBackward;
}

double require_positive(const io::ConfigReader& row, const char* key) { return row.require_in(key, 1e-9, 1e18); }

// A column of positive figures: one number or a list.
std::vector<double> column(const io::ConfigReader& row, const char* key) {
  if (row.raw(key).is_array()) return row.require<std::vector<double>>(key);
  return {require_positive(row, key)};
}

// Two columns of the same length, `by` and times rising: time may not fall as work grows.
void read_curve(const io::ConfigReader& row, const char* key, std::vector<double>& by, std::vector<double>& seconds) {
  by = column(row, key);
  seconds = column(row, "us");
  if (by.empty() || by.size() != seconds.size()) {
    core::fail_input("{}: key '{}': found {} and {} values, expected as many of '{}' as of 'us'", row.file(),
                     row.dotted(key), by.size(), seconds.size(), key);
  }
  for (std::size_t i = 0; i < by.size(); ++i) {
    const bool rising = i == 0 || by[i] > by[i - 1];
    if (!rising || !(by[i] > 0) || !(seconds[i] > 0)) row.fail(key, "rising positive values");
    seconds[i] *= kMicrosecond;
    if (i > 0 && seconds[i] < seconds[i - 1]) row.fail("us", "times that do not fall");
  }
}

GemmFamily read_gemm(const io::ConfigReader& row) {
  GemmFamily family;
  family.kind = gemm_kind(row);
  family.n = require_positive(row, "n");
  family.k = require_positive(row, "k");
  family.groups = require_positive(row, "groups");
  read_curve(row, "tokens", family.tokens, family.seconds);
  row.ignore("name");
  row.ignore("samples");
  row.finish();
  return family;
}

AttentionFamily read_attention(const io::ConfigReader& row) {
  AttentionFamily family;
  family.kind = attention_kind(row);
  family.heads = require_positive(row, "heads");
  family.qk_dim = require_positive(row, "qk_dim");
  family.v_dim = require_positive(row, "v_dim");
  read_curve(row, "keys", family.keys, family.seconds);
  row.ignore("samples");
  row.finish();
  return family;
}

void read_source(const io::ConfigReader& reader, Calibration& calibration) {
  const io::ConfigReader source = reader.require_object("source");
  calibration.sources.push_back(source.require<std::string>("title"));
  for (const char* key : {"commit", "licence", "status", "note"}) source.ignore(key);
  source.finish();
  if (reader.require<std::int64_t>("schema") != 1) reader.fail("schema", "1");
}

void read_training(const std::string& path, Calibration& calibration) {
  const io::ConfigReader reader(io::load_config_file(path), path);
  read_source(reader, calibration);
  for (const io::ConfigReader& row : reader.require_objects("gemm")) {
    calibration.training_gemms.push_back(read_gemm(row));
  }
  for (const io::ConfigReader& row : reader.require_objects("attention")) {
    calibration.training_attention.push_back(read_attention(row));
  }
  for (const io::ConfigReader& row : reader.require_objects("memory")) {
    calibration.memory.push_back({row.require<std::string>("operator"), require_positive(row, "rows"),
                                  require_positive(row, "width"), require_positive(row, "us") * kMicrosecond});
    row.finish();
  }
  for (const io::ConfigReader& row : reader.require_objects("gap")) {
    calibration.gaps.push_back({row.require<std::string>("segment"), row.require_in("us", 0.0, 1e9) * kMicrosecond});
    row.finish();
  }
  for (const io::ConfigReader& row : reader.require_objects("transfer")) {
    calibration.transfers.push_back(
        {row.require<std::string>("name"), require_positive(row, "tokens"), require_positive(row, "hidden"),
         require_positive(row, "bytes_per_element"), require_positive(row, "us") * kMicrosecond,
         row.require_in("wait_us", 0.0, 1e9) * kMicrosecond, row.require_in("setup_us", 0.0, 1e9) * kMicrosecond});
    row.finish();
  }
  const io::ConfigReader setting = reader.require_object("setting");
  calibration.training_sms = require_positive(setting, "compute_sms");
  calibration.reference.communication_sms = static_cast<int>(require_positive(setting, "communication_sms"));
  calibration.profile_layers = require_positive(setting, "moe_layers");
  calibration.profile_span_s = require_positive(setting, "span_us") * kMicrosecond;
  calibration.profile_busy_s = require_positive(setting, "compute_busy_us") * kMicrosecond;
  calibration.profile_transfer_s = require_positive(setting, "transfer_us") * kMicrosecond;
  calibration.profile_hidden_s = require_positive(setting, "transfer_hidden_us") * kMicrosecond;
  workload::RoutingShape routing;
  routing.experts = require_positive(setting, "experts");
  routing.groups = require_positive(setting, "groups");
  routing.kept_groups = require_positive(setting, "kept_groups");
  routing.top_k = require_positive(setting, "top_k");
  routing.expert_ranks = require_positive(setting, "expert_ranks");
  routing.ranks_per_node = require_positive(setting, "gpus_per_node");
  calibration.profile_places = workload::expected_places(routing, workload::expert_nodes(routing));
  setting.ignore("tokens");
  setting.ignore("model_tflop");
  setting.finish();
  reader.ignore("gpu");
  reader.finish();
}

void read_tables(const std::string& path, Calibration& calibration) {
  const io::ConfigReader reader(io::load_config_file(path), path);
  read_source(reader, calibration);
  calibration.reference.sms = static_cast<int>(require_positive(reader, "sms"));
  for (const io::ConfigReader& row : reader.require_objects("gemm")) {
    calibration.alone_gemms.push_back(read_gemm(row));
  }
  for (const io::ConfigReader& row : reader.require_objects("attention")) {
    calibration.alone_attention.push_back(read_attention(row));
  }
  const io::ConfigReader peaks = reader.require_object("reference");
  calibration.reference.fp8_flops = require_quantity(peaks, "fp8", Dimension::kComputeRate);
  calibration.reference.bf16_flops = require_quantity(peaks, "bf16", Dimension::kComputeRate);
  calibration.reference.hbm_bandwidth = require_quantity(peaks, "hbm_bandwidth", Dimension::kBandwidth);
  peaks.finish();
  reader.ignore("gpu");
  reader.finish();
}

void read_network(const std::string& path, Calibration& calibration) {
  const io::ConfigReader reader(io::load_config_file(path), path);
  read_source(reader, calibration);
  for (const io::ConfigReader& row : reader.require_objects("transfer")) {
    calibration.transfer_rates.push_back({require_positive(row, "ep"),
                                          require_quantity(row, "dispatch", Dimension::kBandwidth),
                                          require_quantity(row, "combine", Dimension::kBandwidth)});
    row.finish();
  }
  if (calibration.transfer_rates.empty()) reader.fail("transfer", "at least one row");
  const io::ConfigReader peaks = reader.require_object("reference");
  calibration.reference.nic_attainable = require_quantity(peaks, "nic_attainable", Dimension::kBandwidth);
  calibration.reference.nvlink_attainable = require_quantity(peaks, "nvlink_attainable", Dimension::kBandwidth);
  peaks.finish();
  reader.ignore("gpu");
  reader.finish();
}

void read_efficiencies(const std::string& path, Calibration& calibration) {
  const io::ConfigReader reader(io::load_config_file(path), path);
  read_source(reader, calibration);
  for (const io::ConfigReader& row : reader.require_objects("efficiency")) {
    calibration.efficiencies.push_back(
        {row.require_one_of("assumption", {"bf16_gemm_efficiency", "roofline_efficiency", "attention_efficiency",
                                           "grouped_gemm_efficiency", "memory_efficiency"}),
         row.require_in("value", 0.01, 1.0), row.require<std::string>("measurement")});
    row.finish();
  }
  reader.ignore("gpu");
  reader.finish();
}

}  // namespace

Calibration load_calibration(const std::string& name) {
  Calibration calibration;
  if (name.empty()) return calibration;
  calibration.name = name;
  const std::string folder = "calibration/" + name + "/";
  if (const std::string path = io::data_path(folder) + "efficiency.toml"; std::filesystem::exists(path)) {
    read_efficiencies(path, calibration);
    return calibration;
  }
  read_training(io::data_path(folder + "training_kernels.toml"), calibration);
  read_tables(io::data_path(folder + "kernel_tables.toml"), calibration);
  read_network(io::data_path(folder + "network.toml"), calibration);
  return calibration;
}

}  // namespace lastbit::sim::cost
