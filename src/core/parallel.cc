#include "core/parallel.h"

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>

#include <algorithm>
#include <memory>

#include "core/error.h"

namespace lastbit::core {
namespace {

std::unique_ptr<tbb::global_control>& control() {
  static std::unique_ptr<tbb::global_control> instance;
  return instance;
}

}  // namespace

void set_num_threads(int threads) {
  check(threads >= 0, "a number of threads is at least 0");
  const int wanted = threads == 0 ? tbb::info::default_concurrency() : threads;
  control().reset();
  control() = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism,
                                                    static_cast<std::size_t>(wanted));
}

int num_threads() {
  return static_cast<int>(tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism));
}

void parallel_for(std::int64_t total, std::int64_t grain,
                  const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  check(total >= 0 && grain > 0, "parallel_for wants total >= 0 and grain > 0");
  const std::int64_t ranges = (total + grain - 1) / grain;
  if (ranges <= 1) {
    if (total > 0) body(0, total);
    return;
  }
  tbb::parallel_for(
      tbb::blocked_range<std::int64_t>(0, ranges, 1),
      [&](const tbb::blocked_range<std::int64_t>& chunk) {
        for (std::int64_t i = chunk.begin(); i < chunk.end(); ++i) body(i * grain, std::min(total, (i + 1) * grain));
      },
      tbb::simple_partitioner());
}

}  // namespace lastbit::core
