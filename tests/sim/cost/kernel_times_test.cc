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
  const workload::Operator op = workload::gemm("any", 2048, 128, 256, workload::Format::kFp8);
  ASSERT_TRUE(given_time(given, op).has_value());
  EXPECT_NEAR(*given_time(given, op), 20e-6, 1e-12);
  EXPECT_NEAR(*given_time(given, workload::gemm("any", 512, 128, 256, workload::Format::kFp8)), 5e-6, 1e-12);
  EXPECT_NEAR(*given_time(given, workload::gemm("any", 8192, 128, 256, workload::Format::kFp8)), 80e-6, 1e-12);
  EXPECT_FALSE(given_time(given, workload::gemm("any", 2048, 128, 512, workload::Format::kFp8)).has_value());
  EXPECT_FALSE(given_time(given, workload::gemm_wgrad("any", 2048, 128, 256, workload::Format::kFp8)).has_value());
}

TEST(KernelTimes, AnOperatorGoesByItsName) {
  const auto given =
      parse_kernel_times(std::string(kHeader) + "\"attention core, backward\",0,0,0,4096,100\n", "mine.csv");
  const auto op = workload::attention_core(workload::OpKind::kAttentionBackward, 4096, 4096, 128, 192, 128);
  EXPECT_NEAR(given_time(given, op).value_or(0), 100e-6, 1e-12);
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
