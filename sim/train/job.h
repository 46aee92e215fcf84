// A training job: layout, precision, phases and assumptions, as data/jobs/*.toml describes it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/cluster/description.h"
#include "sim/cost/assumptions.h"
#include "sim/workload/layer.h"

namespace lastbit::sim::train {

struct Layout {
  int pipeline = 1;
  int expert = 1;
  int tensor = 1;   // ranks that share every matrix; they share the tokens between matrices too
  int context = 1;  // ranks that share a sequence, unless a phase says otherwise
  int chunks = 1;   // stages a rank holds, where stage_layers does not list them
  int zero_stage = 1;
  int micro_batch_sequences = 1;
  workload::Recompute recompute = workload::Recompute::kSelective;
  bool fused_attention = true;
  std::string schedule;           // a name of schedule::kinds()
  std::vector<int> stage_layers;  // [stages]; empty: spread evenly (layout.h)
};

struct Precision {
  workload::Format gemm = workload::Format::kFp8;
  double dispatch_bytes = 0;  // an element, scales included
  double combine_bytes = 0;
  double gradient_bytes = 0;
  double parameter_bytes = 0;
  // What a rank keeps of each parameter; masters and moments are shared out by ZeRO.
  double weight_storage_bytes = 2;
  double gradient_storage_bytes = 4;
  double master_storage_bytes = 4;
  double moments_storage_bytes = 4;  // both
  int communication_sms = 0;
};

// A stretch of training at one sequence length and batch size.
struct Phase {
  std::string name;
  int sequence_tokens = 0;
  int batch_sequences = 0;
  double tokens = 0;                      // in all
  int context_parallel = 1;               // ranks that share a sequence
  std::string schedule;                   // empty: the layout's
  std::string assumed;                    // what of its layout and batches no source gives, in words; may be empty
  std::optional<double> given_gpu_hours;  // not predicted; nothing else is set then
};

struct Job {
  std::string name;
  double usd_per_gpu_hour = 0;
  Layout layout;
  Precision precision;
  std::vector<Phase> phases;
  cost::Assumptions assumptions;
  // Of each MoE layer, MTP's last, the busiest expert rank's load over the mean; empty: the assumption for all.
  std::vector<double> layer_load_factors;
  // Whether the job runs the kernels whose times are in data/calibration; others are rooflines.
  bool measured_kernels = true;
};

// Reads and checks a job by preset name or path, after the overrides of subjects "job" and "assume". A job with `base`
// starts from that job. stage_layers of the file or of an override stands instead of chunks of what it changes.
// Error(kInput): unknown name, unknown key, a value out of range.
[[nodiscard]] Job load_job(const std::string& name_or_path, const std::vector<cluster::Override>& overrides = {});

}  // namespace lastbit::sim::train
