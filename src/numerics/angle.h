// Reduction of an angle to a quadrant, exact for every double (Payne and Hanek, SIGNUM Newsletter 18, 1983).
#pragma once

namespace lastbit::numerics {

// x = (4 n + quadrant) pi/2 + remainder for some integer n, quadrant in 0..3, |remainder| <= pi/4.
struct ReducedAngle {
  int quadrant = 0;
  double remainder = 0;  // relative error below 2^-51
};

// x: finite. Integer arithmetic on the bits of 2/pi that matter for x, so nothing cancels.
[[nodiscard]] ReducedAngle reduce_angle(double x);

}  // namespace lastbit::numerics
