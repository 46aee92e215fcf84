#include "ops/shadow.h"

#include <cmath>
#include <utility>

namespace lastbit::ops {

void ProductLoss::add(std::span<const float> candidate, std::span<const float> shadow) {
  for (std::size_t i = 0; i < candidate.size(); ++i) {
    const auto c = static_cast<double>(candidate[i]);
    const auto s = static_cast<double>(shadow[i]);
    difference_squares += (c - s) * (c - s);
    shadow_squares += s * s;
    candidate_squares += c * c;
    inner_product += c * s;
  }
}

double ProductLoss::relative_error() const {
  return difference_squares == 0 ? 0 : std::sqrt(difference_squares / shadow_squares);
}

double ProductLoss::cosine() const {
  if (shadow_squares == 0 && candidate_squares == 0) return 1;
  return inner_product / std::sqrt(shadow_squares * candidate_squares);
}

void Shadow::record(ProductLoss loss) {
  const std::lock_guard lock(mutex_);
  losses_.push_back(std::move(loss));
}

}  // namespace lastbit::ops
