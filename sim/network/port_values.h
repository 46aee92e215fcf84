// A number for each port of a switch, in whole blocks that start on cache lines.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace lastbit::sim::network {

// How many doubles loops over ports take at a time at most.
inline constexpr std::size_t kCrossbarBlock = 8;

// As std::vector, with a number of elements that is a multiple of kCrossbarBlock: vectors that cross cache lines would
// make the loops half as fast again.
class PortValues {
 public:
  PortValues() = default;
  PortValues(std::size_t count, double value) { assign(count, value); }

  void assign(std::size_t count, double value) {
    count_ = count;
    blocks_.resize(std::max<std::size_t>(1, count / kCrossbarBlock));
    for (Block& block : blocks_) block.values.fill(value);
  }

  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] double* data() { return blocks_.front().values.data(); }
  [[nodiscard]] const double* data() const { return blocks_.front().values.data(); }
  [[nodiscard]] double& operator[](std::size_t i) { return data()[i]; }
  [[nodiscard]] double operator[](std::size_t i) const { return data()[i]; }

 private:
  struct alignas(64) Block {
    std::array<double, kCrossbarBlock> values;
  };
  static_assert(sizeof(Block) == kCrossbarBlock * sizeof(double));

  std::size_t count_ = 0;
  std::vector<Block> blocks_ = std::vector<Block>(1);
};

}  // namespace lastbit::sim::network
