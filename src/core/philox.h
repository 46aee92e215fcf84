// Philox4x32-10 counters: random numbers that are a function of (seed, purpose, layer, step, index) and nothing else.
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace lastbit::core {

using PhiloxBlock = std::array<std::uint32_t, 4>;

// The bijection itself: ten rounds on a counter under a key.
[[nodiscard]] PhiloxBlock philox4x32(PhiloxBlock counter, std::array<std::uint32_t, 2> key);

// A stream named by what it is for. Any element can be asked for at any time, in any order, from any thread.
class RandomStream {
 public:
  // purpose: what the numbers are for ("init", "jitter"); layer and step tell apart uses of one purpose.
  RandomStream(std::uint64_t seed, std::string_view purpose, std::uint32_t layer = 0, std::uint32_t step = 0);

  // Block `index` of the stream: four 32-bit words; index < 2^32.
  [[nodiscard]] PhiloxBlock block(std::uint32_t index) const;
  // Word `index` of the stream, index < 2^34.
  [[nodiscard]] std::uint32_t word(std::uint64_t index) const;
  // Uniform in [0, 1) on the grid of 2^-24, from word `index`.
  [[nodiscard]] float uniform(std::uint64_t index) const;

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint32_t purpose_;
  std::uint32_t layer_;
  std::uint32_t step_;
};

}  // namespace lastbit::core
