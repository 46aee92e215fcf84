#include "core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <vector>

#include "core/error.h"

namespace lastbit::core {
namespace {

TEST(ParallelFor, CoversEveryIndexOnceForEverySizeAndGrain) {
  for (const std::int64_t grain : {1, 3, 8}) {
    for (std::int64_t total = 0; total <= 2 * grain + 1; ++total) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(total));
      parallel_for(total, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      for (const auto& count : seen) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ParallelFor, RangesDoNotDependOnTheNumberOfThreads) {
  std::set<std::pair<std::int64_t, std::int64_t>> expected;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    EXPECT_EQ(num_threads(), threads);
    std::mutex mutex;
    std::set<std::pair<std::int64_t, std::int64_t>> ranges;
    parallel_for(1000, 64, [&](std::int64_t begin, std::int64_t end) {
      const std::lock_guard lock(mutex);
      ranges.emplace(begin, end);
    });
    if (threads == 1) expected = ranges;
    EXPECT_EQ(ranges, expected);
  }
  set_num_threads(0);
}

TEST(ParallelFor, ExceptionsReachTheCaller) {
  EXPECT_THROW(parallel_for(100, 1,
                            [](std::int64_t begin, std::int64_t) {
                              if (begin == 57) fail_input("no");
                            }),
               Error);
}

}  // namespace
}  // namespace lastbit::core
