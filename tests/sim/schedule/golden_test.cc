// Holds the executed schedules to timelines of other implementations, in ../shared/groundtruth/pipeline.
#include "golden.h"

#include <gtest/gtest.h>

#include "sim/schedule/execute.h"
#include "support/shared.h"

namespace lastbit::sim::schedule {
namespace {

constexpr double kAgreement = 1e-9;

void expect_near(const std::vector<SimTime>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t rank = 0; rank < expected.size(); ++rank)
    EXPECT_NEAR(found[rank].s, expected[rank], kAgreement) << "rank " << rank;
}

std::vector<std::vector<std::string>> labels(const Schedule& schedule) {
  std::vector<std::vector<std::string>> all;
  for (const std::vector<Op>& list : schedule.order) {
    std::vector<std::string>& names = all.emplace_back();
    for (const Op& op : list) names.push_back(label(op, schedule.labels));
  }
  return all;
}

// Total, finish, busy, bubble, peaks and, where the file has them, orders.
void expect_agreement(const std::string& file_kind, const std::string& kind, std::size_t at_least) {
  const std::vector<Golden> files = load_golden(file_kind);
  ASSERT_GE(files.size(), at_least);
  for (const Golden& golden : files) {
    SCOPED_TRACE(golden.name);
    const Schedule schedule = build(kind, golden.params);
    if (!golden.order.empty()) {
      EXPECT_EQ(labels(schedule), golden.order);
    }
    const Execution execution = execute(schedule, uniform_costs(golden.times, golden.fused));
    EXPECT_NEAR(execution.total.s, golden.total, kAgreement);
    expect_near(execution.finish, golden.finish);
    expect_near(execution.busy, golden.busy);
    expect_near(execution.bubble, golden.bubble);
    EXPECT_EQ(execution.peak_in_flight, golden.peak);
  }
}

TEST(GoldenSchedules, OneFOneB) {
  LASTBIT_NEEDS_SHARED();
  expect_agreement("1f1b", "1f1b", 2);
}

TEST(GoldenSchedules, DualPipe) {
  LASTBIT_NEEDS_SHARED();
  expect_agreement("dualpipe", "dualpipe", 5);
}

TEST(GoldenSchedules, DualPipeV) {
  LASTBIT_NEEDS_SHARED();
  expect_agreement("dualpipev", "dualpipev", 2);
}

TEST(GoldenSchedules, Interleaved) {
  LASTBIT_NEEDS_SHARED();
  expect_agreement("interleaved_1f1b", "interleaved", 2);
}

}  // namespace
}  // namespace lastbit::sim::schedule
