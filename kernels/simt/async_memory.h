// What a block's asynchronous proxy is busy with, and the mbarriers that it reports to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/simt/clocks.h"

namespace lastbit::simt {

// As PTX describes it: a phase completes when as many threads have arrived as the barrier was made for and all bytes
// that were announced are there; then the next begins.
struct Mbarrier {
  int expected = 0;
  int missing = 0;         // arrivals of the current phase
  std::int64_t bytes = 0;  // announced and not there yet; negative: they came before they were announced
  std::uint32_t phase = 0;
  Clocks::Knowledge gathering;  // of who arrived in this phase, and of who wrote its bytes
  Clocks::Knowledge known;      // of all phases that are complete: what those who wait learn

  void learn(const Clocks::Knowledge& from) {
    gathering.resize(std::max(gathering.size(), from.size()));
    for (std::size_t i = 0; i < from.size(); ++i) gathering[i] = std::max(gathering[i], from[i]);
  }
  void complete_if_done() {
    if (missing > 0 || bytes != 0) return;
    missing = expected;
    known = gathering;  // it only ever grows
    ++phase;
  }
};

// What a thread's accumulators of wgmma will be. Until it has waited for them they hold NaN.
struct Accumulators {
  std::vector<float> values;
  int running = 0;  // products that have not been waited for
};

class AsyncMemory {
 public:
  // `end` makes the operation happen; it is called now, later, or not before everybody waits.
  void submit(std::function<void()> end, bool now) {
    if (now)
      end();
    else
      running_.push_back(std::move(end));
  }
  // Ends the oldest operation; false where there is none.
  bool end_one() {
    if (running_.empty()) return false;
    const std::function<void()> end = std::move(running_.front());
    running_.pop_front();
    end();
    return true;
  }
  [[nodiscard]] bool idle() const { return running_.empty(); }
  [[nodiscard]] std::unordered_map<std::uintptr_t, Mbarrier>& mbarriers() { return mbarriers_; }
  // By the address of a thread's own array; only while products run.
  [[nodiscard]] std::unordered_map<const float*, Accumulators>& accumulators() { return accumulators_; }

 private:
  std::deque<std::function<void()>> running_;
  std::unordered_map<std::uintptr_t, Mbarrier> mbarriers_;
  std::unordered_map<const float*, Accumulators> accumulators_;
};

}  // namespace lastbit::simt
