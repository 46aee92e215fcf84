// From an operator to seconds.
#pragma once

#include <vector>

#include "sim/cluster/cluster.h"
#include "sim/cost/assumptions.h"
#include "sim/cost/calibration.h"
#include "sim/cost/causes.h"
#include "sim/cost/provenance.h"
#include "sim/workload/layer.h"

namespace lastbit::sim::cost {

// How an all-to-all runs: beside compute kernels, as in the profiled training run, or alone.
enum class Company { kBesideCompute, kAlone };

struct TransferCost {
  Timed transfer;
  double wait_s = 0;  // synchronisation and set-up before it
};

// Times on one cluster. GEMM and attention kernels: the training run's own time for a measured (n, k), carried over
// rows by the curve of the nearest table and over SMs in proportion; else a table measured alone times the ratio of
// the two where both are known; else the efficiency of the nearest shapes; without tables a roofline. Memory-bound
// kernels do not depend on the number of SMs. Times are carried to another GPU by the ratio of peaks. Efficiencies, of
// kernels inside a training run, are the job's assumptions, in whose place forecasts put a calibration's
// (Assumptions::calibrate).
class CostModel {
 public:
  // `without`: causes whose time is not counted.
  CostModel(cluster::Cluster cluster, Calibration calibration, Assumptions assumptions, Without without = {});

  // The operator's time with `sms` SMs to itself.
  [[nodiscard]] Timed operator_time(const workload::Operator& op, double sms) const;
  // Launch gaps of a segment.
  [[nodiscard]] double gap_s(workload::Segment segment) const;
  [[nodiscard]] TransferCost transfer_time(workload::TransferKind kind, const workload::Transfer& transfer,
                                           double expert_ranks, Company company) const;
  // Point to point over one NIC.
  [[nodiscard]] double nic_time(double bytes) const;
  // Collective traffic of one GPU inside its node.
  [[nodiscard]] double nvlink_time(double bytes) const;
  // What a tensor-parallel all-gather or reduce-scatter adds to the compute stream; the rest runs beside it.
  [[nodiscard]] double tensor_exchange_time(double bytes) const;
  // Bytes through HBM at the assumed efficiency.
  [[nodiscard]] double memory_time(double bytes) const;

  // Time in the training run over time alone, SMs accounted for: the mean over the dense shapes in both tables; 1
  // without tables.
  [[nodiscard]] double in_situ_factor() const { return in_situ_factor_; }
  [[nodiscard]] const cluster::Cluster& cluster() const { return cluster_; }
  [[nodiscard]] const Calibration& calibration() const { return calibration_; }
  [[nodiscard]] const Assumptions& assumptions() const { return assumptions_; }
  [[nodiscard]] const Without& without() const { return without_; }

 private:
  [[nodiscard]] bool perfect() const { return assumptions_["perfect_kernels"] > 0; }
  [[nodiscard]] Timed gemm_time(const workload::Operator& op, double sms) const;
  [[nodiscard]] Timed attention_time(const workload::Operator& op, double sms) const;
  [[nodiscard]] Timed memory_bound_time(const workload::Operator& op) const;
  [[nodiscard]] Timed roofline(const workload::Operator& op, double sms) const;
  [[nodiscard]] Timed rows_ratio(const workload::Operator& op, double from_tokens) const;
  [[nodiscard]] double nearest_efficiency(const workload::Operator& op) const;
  [[nodiscard]] double compute_ratio(workload::Format format) const;

  cluster::Cluster cluster_;
  Calibration calibration_;
  Assumptions assumptions_;
  Without without_;
  bool same_gpu_ = false;
  double in_situ_factor_ = 1;
};

}  // namespace lastbit::sim::cost
