// Sums in one fixed order: eight virtual lanes and a fixed tree, the same bits for scalar code and any vector width
// up to eight.
//
// Lane i adds the terms i, i + 8, i + 16, ... in that order, starting from 0 and rounding after every product and
// every addition; the lanes are then added as ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7)). Terms missing at the
// end add nothing. The same in float and in double.
#pragma once

#include <cstdint>

namespace lastbit::numerics {

inline constexpr std::int64_t kLanes = 8;

[[nodiscard]] float sum(const float* x, std::int64_t count);
[[nodiscard]] float dot(const float* x, const float* y, std::int64_t count);
[[nodiscard]] float sum_of_squares(const float* x, std::int64_t count);

[[nodiscard]] double sum(const double* x, std::int64_t count);
[[nodiscard]] double dot(const double* x, const double* y, std::int64_t count);
[[nodiscard]] double sum_of_squares(const double* x, std::int64_t count);

}  // namespace lastbit::numerics
