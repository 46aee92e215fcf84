#include "sim/cost/cost_model.h"

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "sim/train/job.h"

namespace lastbit::sim::cost {
namespace {

using workload::Format;
using workload::OpKind;

CostModel model_with(const std::vector<std::string>& settings) {
  const std::vector<cluster::Override> overrides = cluster::parse_overrides(settings);
  cluster::Cluster cluster = cluster::load_cluster("h800-2048", overrides);
  Calibration calibration = load_calibration(cluster.calibration);
  return {std::move(cluster), std::move(calibration), train::load_job("v3-pretrain", overrides).assumptions};
}

TEST(CostModel, MeasuredShapesKeepTheirTimes) {
  const CostModel cost = model_with({});
  const Timed output = cost.operator_time(workload::gemm("attention output", 4096, 7168, 16384, Format::kFp8), 112);
  EXPECT_NEAR(output.seconds, 900.75e-6, 1e-12);
  EXPECT_EQ(output.provenance, Provenance::kMeasured);
  const Timed core =
      cost.operator_time(workload::attention_core(OpKind::kAttentionForward, 4096, 4096, 128, 192, 128), 112);
  EXPECT_NEAR(core.seconds, 1237e-6, 1e-12);
  EXPECT_EQ(core.provenance, Provenance::kMeasured);
  // 556 TFLOPS, the published rate of that kernel.
  EXPECT_NEAR(workload::attention_core(OpKind::kAttentionForward, 4096, 4096, 128, 192, 128).cost.flops / core.seconds,
              556e12, 1e12);
}

TEST(CostModel, MoreWorkNeverTakesLess) {
  const CostModel cost = model_with({});
  for (const bool grouped : {false, true}) {
    for (const double n : {576.0, 4096.0, 36864.0, 5000.0}) {
      double last = 0;
      for (double tokens = 64; tokens < 3e5; tokens *= 1.3) {
        const workload::Operator op = grouped ? workload::grouped_gemm("g", tokens, n, 7168, 4, Format::kFp8)
                                              : workload::gemm("g", tokens, n, 7168, Format::kFp8);
        const double seconds = cost.operator_time(op, 112).seconds;
        EXPECT_GE(seconds, last) << n << " " << tokens;
        last = seconds;
      }
    }
  }
  double last = 0;
  for (double keys = 4096; keys < 3e5; keys *= 1.5) {
    const auto op = workload::attention_core(OpKind::kAttentionBackward, 4096, keys, 128, 192, 128);
    EXPECT_GT(cost.operator_time(op, 112).seconds, last);
    last = cost.operator_time(op, 112).seconds;
  }
}

TEST(CostModel, FewerSmsAreSlowerForComputeAndTheSameForMemory) {
  const CostModel cost = model_with({});
  const auto gemm = workload::gemm("g", 4096, 4096, 7168, Format::kFp8);
  EXPECT_NEAR(cost.operator_time(gemm, 56).seconds, 2 * cost.operator_time(gemm, 112).seconds, 1e-12);
  const auto norm = workload::memory_bound("attention_norms", 4096, 9216, 4);
  EXPECT_DOUBLE_EQ(cost.operator_time(norm, 56).seconds, cost.operator_time(norm, 112).seconds);
}

TEST(CostModel, NoKernelBeatsTheRoofline) {
  const CostModel cost = model_with({});
  const CostModel perfect = model_with({"assume.perfect_kernels=1"});
  for (const double n : {512.0, 4096.0, 32768.0}) {
    for (const double k : {512.0, 7168.0}) {
      for (const auto& op :
           {workload::gemm("g", 4096, n, k, Format::kFp8), workload::gemm_wgrad("g", 4096, n, k, Format::kFp8),
            workload::grouped_gemm("g", 32768, n, k, 4, Format::kFp8)}) {
        const double bound = perfect.operator_time(op, 112).seconds;
        EXPECT_GE(cost.operator_time(op, 112).seconds, bound) << n << " x " << k;
        const double compute = op.cost.flops / (1979e12 * 112 / 132);
        EXPECT_GE(bound, compute * (1 - 1e-12));
      }
    }
  }
  EXPECT_EQ(perfect.gap_s(workload::Segment::kAttentionForward), 0);
}

TEST(CostModel, SlowerNetworkIsNeverFaster) {
  workload::Transfer transfer;
  transfer.logical_bytes = 100e6;
  transfer.nic_bytes = 87.5e6;
  transfer.nvlink_bytes = 200e6;
  for (const Company company : {Company::kBesideCompute, Company::kAlone}) {
    double last = 0;
    for (const char* speed : {"1600 Gb/s", "800 Gb/s", "400 Gb/s", "200 Gb/s", "100 Gb/s"}) {
      const CostModel cost =
          model_with({std::string("cluster.network.nic_peak=") + speed, "cluster.network.nic_attainable=10 GB/s"});
      const auto time = cost.transfer_time(workload::TransferKind::kDispatchForward, transfer, 64, company);
      EXPECT_GE(time.transfer.seconds, last);
      last = time.transfer.seconds;
    }
    EXPECT_GT(last, 0);
  }
}

TEST(CostModel, WithoutTablesEverythingIsARoofline) {
  const CostModel cost = model_with({"cluster.calibration="});
  EXPECT_EQ(cost.operator_time(workload::gemm("g", 4096, 4096, 7168, Format::kFp8), 132).provenance,
            Provenance::kRoofline);
  EXPECT_EQ(cost.operator_time(workload::memory_bound("attention_norms", 4096, 9216, 4), 132).provenance,
            Provenance::kRoofline);
}

TEST(CostModel, TrainingKernelsAreSlowerThanTheSameAlone) {
  const double factor = model_with({}).in_situ_factor();
  EXPECT_GT(factor, 1.0);
  EXPECT_LT(factor, 1.5);
}

}  // namespace
}  // namespace lastbit::sim::cost
