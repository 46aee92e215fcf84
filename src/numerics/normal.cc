#include "numerics/normal.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "core/parallel.h"
#include "numerics/elementary.h"

namespace lastbit::numerics {
namespace {

constexpr double kTwoPi = 0x1.921fb54442d18p+2;
constexpr std::int64_t kWordsABlock = 4;

std::array<double, 2> box_muller(std::uint32_t first, std::uint32_t second) {
  const double radius = std::sqrt(-2 * log((static_cast<double>(first) + 1) * 0x1p-32));
  const double angle = kTwoPi * (static_cast<double>(second) * 0x1p-32);
  const SineAndCosine turn = sin_cos(angle);
  return {radius * turn.cosine, radius * turn.sine};
}

}  // namespace

void fill_normal(const core::RandomStream& stream, double deviation, std::span<float> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  core::parallel_for((count + kWordsABlock - 1) / kWordsABlock, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const core::PhiloxBlock words = stream.block(static_cast<std::uint32_t>(b));
      const std::array<double, 2> low = box_muller(words[0], words[1]);
      const std::array<double, 2> high = box_muller(words[2], words[3]);
      const std::array<double, 4> normal = {low[0], low[1], high[0], high[1]};
      const std::int64_t last = std::min(count, (b + 1) * kWordsABlock);
      for (std::int64_t i = b * kWordsABlock; i < last; ++i)
        values[static_cast<std::size_t>(i)] =
            static_cast<float>(deviation * normal[static_cast<std::size_t>(i % kWordsABlock)]);
    }
  });
}

}  // namespace lastbit::numerics
