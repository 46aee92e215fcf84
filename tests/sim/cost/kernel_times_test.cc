#include "sim/cost/kernel_times.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace lastbit::sim::cost {
namespace {

constexpr const char* kHeader = "kernel,n,k,groups,rows,us\n";

std::string refusal(const std::string& text) {
  try {
    (void)parse_kernel_times(text, "mine.csv");
  } catch (const core::Error& error) {
    return error.what();
  }
  return "";
}

TEST(KernelTimes, AShapeIsInterpolatedOverRows) {
  const auto given = parse_kernel_times(
      std::string("# mine\n") + kHeader + "dense, 128, 256, 1, 4096, 40\ndense, 128, 256, 1, 1024, 10\n\n", "mine.csv");
  const auto expect = [&given](double rows, double seconds, Provenance provenance) {
    const auto time = given_time(given, workload::gemm("any", rows, 128, 256, workload::Format::kFp8));
    ASSERT_TRUE(time.has_value());
    EXPECT_NEAR(time->seconds, seconds, 1e-12);
    EXPECT_EQ(time->provenance, provenance) << rows;
  };
  expect(1024, 10e-6, Provenance::kMeasured);
  expect(2048, 20e-6, Provenance::kInterpolated);
  expect(512, 5e-6, Provenance::kExtrapolated);
  expect(8192, 80e-6, Provenance::kExtrapolated);
  EXPECT_FALSE(given_time(given, workload::gemm("any", 2048, 128, 512, workload::Format::kFp8)).has_value());
  EXPECT_FALSE(given_time(given, workload::gemm_wgrad("any", 2048, 128, 256, workload::Format::kFp8)).has_value());
}

TEST(KernelTimes, AnOperatorGoesByItsName) {
  const auto given =
      parse_kernel_times(std::string(kHeader) + "\"attention core, backward\",0,0,0,4096,100\n", "mine.csv");
  const auto op = workload::attention_core(workload::OpKind::kAttentionBackward, 4096, 4096, 128, 192, 128);
  ASSERT_TRUE(given_time(given, op).has_value());
  EXPECT_NEAR(given_time(given, op)->seconds, 100e-6, 1e-12);
}

// A row's name is that of one operator: a Linear's forward and its weight gradient do not share it.
TEST(KernelTimes, AWeightGradientHasANameOfItsOwn) {
  const auto given = parse_kernel_times(std::string(kHeader) + "output,0,0,0,4096,100\n", "mine.csv");
  EXPECT_TRUE(given_time(given, workload::gemm("output", 4096, 8, 8, workload::Format::kFp8)).has_value());
  EXPECT_FALSE(given_time(given, workload::gemm_wgrad("output", 4096, 8, 8, workload::Format::kFp8)).has_value());
  const auto wgrad =
      parse_kernel_times(std::string(kHeader) + "\"output, weight gradient\",0,0,0,4096,100\n", "mine.csv");
  EXPECT_TRUE(given_time(wgrad, workload::gemm_wgrad("output", 4096, 8, 8, workload::Format::kFp8)).has_value());
}

std::string unfit(const std::string& rows) {
  const std::vector<workload::Operator> operators{
      workload::gemm("output", 4096, 128, 256, workload::Format::kFp8),
      workload::attention_core(workload::OpKind::kAttentionForward, 4096, 4096, 128, 192, 128),
      workload::memory_bound("swiglu", 4096, 2048, 8),
      workload::memory_bound("swiglu", 4096, 512, 8),
  };
  try {
    check_kernel_times(parse_kernel_times(kHeader + rows, "mine.csv"), operators);
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    return error.what();
  }
  return "";
}

TEST(KernelTimes, EveryLineIsOneThatAnOperatorTakes) {
  EXPECT_EQ(unfit("output,0,0,0,4096,9\nattention core,4096,0,0,4096,9\nswiglu,512,0,0,4096,9\n"), "");
  EXPECT_EQ(unfit("dense,128,256,1,64,9\n"), "");
  EXPECT_NE(unfit("dense,128,256,1,64,9\noutptu,0,0,0,64,9\n").find("mine.csv:3: no operator"), std::string::npos);
  EXPECT_NE(unfit("outptu,0,0,0,64,9\n").find("did you mean 'output'"), std::string::npos);
  EXPECT_NE(unfit("dense,128,999,1,64,9\n").find("mine.csv:2: no operator"), std::string::npos);
  EXPECT_NE(unfit("output,128,999,1,64,9\n").find("mine.csv:2: no operator"), std::string::npos);
  EXPECT_NE(unfit("attention core,8192,0,0,64,9\n").find("mine.csv:2: no operator"), std::string::npos);
  // Two sizes of one name, and a kernel that an earlier one leaves nothing to.
  EXPECT_NE(unfit("swiglu,0,0,0,64,9\n").find("mine.csv:2: 'swiglu' is the name of operators with n 2048"),
            std::string::npos);
  EXPECT_NE(unfit("dense,128,256,1,64,9\noutput,0,0,0,64,9\n").find("mine.csv:3: no operator"), std::string::npos);
}

TEST(KernelTimes, WrongFilesGiveOneLineWithItsNumber) {
  EXPECT_NE(refusal("kernel,n\n").find("mine.csv:1: expected the columns"), std::string::npos);
  EXPECT_NE(refusal(std::string(kHeader) + "dense,1,1,1,8\n").find("mine.csv:2: found 5 columns"), std::string::npos);
  EXPECT_NE(refusal(std::string(kHeader) + "dense,1,1,1,8,fast\n").find("column 'us': found 'fast'"),
            std::string::npos);
  EXPECT_NE(refusal(std::string(kHeader) + "dense,1,1,1,8,0\n").find("us > 0"), std::string::npos);
  EXPECT_NE(refusal(std::string(kHeader) + "dense,1,1,1,8,1\ndense,1,1,1,8,2\n").find("given before"),
            std::string::npos);
  EXPECT_NE(refusal(kHeader).find("no kernel times"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::sim::cost
