#include "core/parallel.h"

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "core/error.h"

namespace lastbit::core {
namespace {

#if defined(__SANITIZE_THREAD__)
// oneTBB's library is not built with ThreadSanitizer, which therefore does not see that a range starts after the loop
// and ends before it. This says so in its own words; the races it reports are then those of the bodies.
class Handoff {
 public:
  Handoff() { ranges_.store(0, std::memory_order_release); }
  void begin_range() { (void)ranges_.load(std::memory_order_acquire); }
  void end_range() { ranges_.fetch_add(1, std::memory_order_release); }
  void end_loop() { (void)ranges_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::int64_t> ranges_{0};
};
#else
struct Handoff {
  void begin_range() {}
  void end_range() {}
  void end_loop() {}
};
#endif

// Never destroyed: at the program's end oneTBB would start threads, and abort where memory has run out.
std::unique_ptr<tbb::global_control>& control() {
  static auto& instance = *new std::unique_ptr<tbb::global_control>;  // NOLINT(cppcoreguidelines-owning-memory)
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
  Handoff handoff;
  tbb::parallel_for(
      tbb::blocked_range<std::int64_t>(0, ranges, 1),
      [&](const tbb::blocked_range<std::int64_t>& chunk) {
        handoff.begin_range();
        for (std::int64_t i = chunk.begin(); i < chunk.end(); ++i) body(i * grain, std::min(total, (i + 1) * grain));
        handoff.end_range();
      },
      tbb::simple_partitioner());
  handoff.end_loop();
}

}  // namespace lastbit::core
