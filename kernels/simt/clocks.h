// Which accesses of a block's threads have an order: vector clocks (Mattern 1989; FastTrack, Flanagan and Freund 2009).
//
// A thread's clock counts its synchronisations. An access of thread u at clock c happens before what thread t does now
// if t has learned of c from u through barriers. Barriers of the whole block are the common case: they raise a floor
// that all threads know, so that nothing has to be kept for pairs of threads until a part of them synchronises.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lastbit::simt {

class Clocks {
 public:
  // What an acquiring thread learns: an mbarrier carries one from those who arrive to those who wait.
  using Knowledge = std::vector<std::uint32_t>;

  void reset(int threads);
  [[nodiscard]] std::uint32_t now(int thread) const { return now_[static_cast<std::size_t>(thread)]; }
  [[nodiscard]] bool before(int other, std::uint32_t clock, int thread) const {
    const auto u = static_cast<std::size_t>(other);
    const auto t = static_cast<std::size_t>(thread);
    return other == thread || clock <= floor_[u] || (fresh_[t] == generation_ && clock <= known_[t * now_.size() + u]);
  }

  // Known to all threads: one entry a thread.
  [[nodiscard]] const std::uint32_t* floor() const { return floor_.data(); }

  void tick(int thread) { ++now_[static_cast<std::size_t>(thread)]; }
  void meet_all();                          // a barrier of all threads
  void meet(std::span<const int> threads);  // of some
  void release(int thread, Knowledge& to);  // adds what the thread knows
  void acquire(int thread, const Knowledge& from);

 private:
  std::span<std::uint32_t> row(int thread);  // what it knows, cleared if it is of an earlier generation

  std::vector<std::uint32_t> now_;
  std::vector<std::uint32_t> floor_;
  std::vector<std::uint32_t> fresh_;  // the generation of a thread's row in known_
  std::vector<std::uint32_t> known_;  // [threads, threads], empty until a part of the threads meets
  std::uint32_t generation_ = 1;      // one more after each barrier of all
};

}  // namespace lastbit::simt
