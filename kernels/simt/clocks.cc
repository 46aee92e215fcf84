#include "kernels/simt/clocks.h"

#include <algorithm>

namespace lastbit::simt {

void Clocks::reset(int threads) {
  const auto count = static_cast<std::size_t>(threads);
  now_.assign(count, 1);
  floor_.assign(count, 0);
  fresh_.assign(count, 0);
  known_.clear();
  generation_ = 1;
}

std::span<std::uint32_t> Clocks::row(int thread) {
  const std::size_t count = now_.size();
  if (known_.empty()) known_.resize(count * count);
  const auto t = static_cast<std::size_t>(thread);
  const std::span<std::uint32_t> result(known_.data() + t * count, count);
  if (fresh_[t] != generation_) std::ranges::fill(result, 0U);
  fresh_[t] = generation_;
  return result;
}

void Clocks::meet_all() {
  floor_ = now_;
  for (std::uint32_t& clock : now_) ++clock;
  ++generation_;
}

void Clocks::meet(std::span<const int> threads) {
  Knowledge all;
  for (const int thread : threads) release(thread, all);
  for (const int thread : threads) std::ranges::copy(all, row(thread).begin());
}

void Clocks::release(int thread, Knowledge& to) {
  to.resize(now_.size());
  const std::span<const std::uint32_t> mine = row(thread);
  for (std::size_t u = 0; u < to.size(); ++u) to[u] = std::max(to[u], mine[u]);
  const auto t = static_cast<std::size_t>(thread);
  to[t] = std::max(to[t], now_[t]++);
}

void Clocks::acquire(int thread, const Knowledge& from) {
  const std::span<std::uint32_t> mine = row(thread);
  for (std::size_t u = 0; u < from.size(); ++u) mine[u] = std::max(mine[u], from[u]);
}

}  // namespace lastbit::simt
