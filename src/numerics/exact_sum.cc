#include "numerics/exact_sum.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace lastbit::numerics {

void ExactSum::add(std::int64_t significand, int exponent) {
  if (significand == 0) return;
  const int position = exponent - kLowestExponent;
  core::check(position >= 0 && position + 64 < 64 * (kLimbs - 1), "the term lies within the exact sum's range");
  const auto first = static_cast<std::size_t>(position / 64);
  const int shift = position % 64;
  // The term spans two limbs; above them its sign goes on.
  const auto bits = static_cast<std::uint64_t>(significand);
  const std::uint64_t sign = significand < 0 ? ~std::uint64_t{0} : 0;
  const std::uint64_t low = bits << shift;
  const std::uint64_t high = shift == 0 ? sign : (bits >> (64 - shift)) | (sign << shift);
  std::uint64_t carry = 0;
  for (std::size_t i = first; i < limbs_.size(); ++i) {
    const std::uint64_t word = i == first ? low : (i == first + 1 ? high : sign);
    const std::uint64_t partial = limbs_[i] + word;
    const std::uint64_t sum = partial + carry;
    carry = (partial < word ? 1u : 0u) | (sum < partial ? 1u : 0u);
    limbs_[i] = sum;
  }
}

bool ExactSum::is_zero() const {
  return std::all_of(limbs_.begin(), limbs_.end(), [](std::uint64_t limb) { return limb == 0; });
}

ExactMagnitude ExactSum::magnitude() const {
  std::array<std::uint64_t, kLimbs> absolute = limbs_;
  if (is_negative()) {
    std::uint64_t carry = 1;
    for (std::uint64_t& limb : absolute) {
      limb = ~limb + carry;
      carry = carry != 0 && limb == 0 ? 1 : 0;
    }
  }
  std::size_t top = absolute.size();
  while (top > 0 && absolute[top - 1] == 0) --top;
  if (top == 0) return {0, kLowestExponent, false};
  --top;
  const int shift = std::countl_zero(absolute[top]);
  std::uint64_t leading = absolute[top] << shift;
  bool sticky = false;
  if (top > 0) {
    if (shift > 0) leading |= absolute[top - 1] >> (64 - shift);
    sticky = (absolute[top - 1] << shift) != 0;
    for (std::size_t i = 0; i + 1 < top; ++i) sticky = sticky || absolute[i] != 0;
  }
  return {leading, kLowestExponent + 64 * static_cast<int>(top) - shift, sticky};
}

}  // namespace lastbit::numerics
