// Measured kernel times: the tables of data/calibration/FOLDER, each with its source.
#pragma once

#include <string>
#include <vector>

#include "sim/workload/operator.h"

namespace lastbit::sim::cost {

// Times of one kernel at one (n, k) by number of rows, rising.
struct GemmFamily {
  workload::OpKind kind = workload::OpKind::kGemm;
  double n = 0;
  double k = 0;
  double groups = 1;
  std::vector<double> tokens;
  std::vector<double> seconds;
};

// Times of a causal attention core by sequence length; queries = keys unless given.
struct AttentionFamily {
  workload::OpKind kind = workload::OpKind::kAttentionForward;
  double heads = 0;
  double qk_dim = 0;
  double v_dim = 0;
  std::vector<double> keys;
  std::vector<double> seconds;
};

struct MemoryTime {
  std::string op;
  double rows = 0;
  double width = 0;
  double seconds = 0;
};

// An all-to-all beside compute kernels, on the reference cluster.
struct TransferTime {
  std::string name;
  double tokens = 0;
  double hidden = 0;
  double bytes_per_element = 0;
  double seconds = 0;
  double wait_s = 0;   // for the other ranks, before it
  double setup_s = 0;  // layout or cast kernels before that
};

// A user's own times of one kernel by number of rows, rising.
struct KernelTimes {
  std::string kernel;  // "dense", "dense_wgrad", "grouped", "grouped_wgrad", or the operator's name
  double n = 0;
  double k = 0;
  double groups = 1;
  std::vector<double> rows;
  std::vector<double> seconds;
  std::string where;  // file and line, for messages
};

struct SegmentGap {
  std::string segment;
  double seconds = 0;
};

// An all-to-all alone: logical bandwidth in B/s at a number of expert ranks.
struct TransferRate {
  double expert_ranks = 0;
  double dispatch = 0;
  double combine = 0;
};

// What the measurements were taken on: times are carried to another GPU by these peaks.
struct Reference {
  double fp8_flops = 0;
  double bf16_flops = 0;
  double hbm_bandwidth = 0;
  double nic_attainable = 0;
  double nvlink_attainable = 0;
  int sms = 0;
  int communication_sms = 0;
};

// The share of a peak that a class of kernels reached in a training run: for GPUs without tables.
struct Efficiency {
  std::string assumption;  // whose place it takes: "bf16_gemm_efficiency", ...
  double value = 0;
  std::string measurement;  // the published run that it was found from (lastbit sim validate marks it)
};

struct Calibration {
  std::string name;  // empty: no figures of its own
  std::vector<Efficiency> efficiencies;
  // User-given kernel times, which stand before everything else (kernel_times.h).
  std::vector<KernelTimes> given;
  Reference reference;
  // Beside communication, on training_sms: the kernels of a real training run.
  double training_sms = 0;
  std::vector<GemmFamily> training_gemms;
  std::vector<AttentionFamily> training_attention;
  std::vector<MemoryTime> memory;
  std::vector<SegmentGap> gaps;
  std::vector<TransferTime> transfers;
  // Alone, on all SMs.
  std::vector<GemmFamily> alone_gemms;
  std::vector<AttentionFamily> alone_attention;
  std::vector<TransferRate> transfer_rates;
  // The profiled chunk, to hold the model to.
  double profile_layers = 0;
  double profile_places = 0;  // nodes that a token went to, its own included
  double profile_span_s = 0;
  double profile_busy_s = 0;
  double profile_transfer_s = 0;     // dispatch and combine, without waits
  double profile_hidden_s = 0;       // of that, beside compute
  std::vector<std::string> sources;  // titles, for the report

  // Measured kernels, all three files; else everything is a roofline.
  [[nodiscard]] bool has_tables() const { return !training_gemms.empty(); }
};

// Reads the folder below data/calibration: efficiency.toml, or training_kernels, kernel_tables and network. An empty
// name gives an empty calibration. Error(kInput): unknown folder or key, tables that are not rising.
[[nodiscard]] Calibration load_calibration(const std::string& name);

}  // namespace lastbit::sim::cost
