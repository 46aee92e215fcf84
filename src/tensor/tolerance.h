// How far a candidate may be from its reference.
#pragma once

#include <cstdint>
#include <string>

namespace lastbit::tensor {

enum class ToleranceKind : std::uint8_t {
  kBitwise,   // the same bits: -0 differs from +0, and NaNs match by payload
  kUlp,       // at most `bound` steps between neighbouring codes; integers: at most that absolute difference
  kAbsolute,  // |candidate - reference| <= bound, element by element
  kRelative,  // |candidate - reference| <= bound * |reference|, element by element
  kNorm,      // norm2(candidate - reference) <= bound * norm2(reference), over the whole array
};

// Under every kind but kBitwise a NaN matches any NaN, an infinity matches the infinity of its sign, and any other
// pair with a NaN or an infinity is a mismatch, whatever the bound.
struct Tolerance {
  ToleranceKind kind = ToleranceKind::kBitwise;
  double bound = 0;
  bool any_nan = false;  // kBitwise too: a NaN matches any NaN
};

// "bitwise", "ulp=2", "abs=1e-5", "rel=1e-4", "norm=2e-5", each with ",nan=any" after it if wanted.
// Errors: bad input that says what was found and lists what there is.
[[nodiscard]] Tolerance parse_tolerance(const std::string& text);

// As parse_tolerance reads it.
[[nodiscard]] std::string to_string(const Tolerance& tolerance);

}  // namespace lastbit::tensor
