// Comparison of a candidate array with its reference: bits, units in the last place, absolute and relative error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tensor/tensor.h"
#include "tensor/tolerance.h"

namespace lastbit::tensor {

// One element of both arrays.
struct ElementPair {
  Shape coordinates;
  std::string reference_bits;  // "0x3f800000"
  std::string candidate_bits;
  std::string reference_value;  // shortest decimal that gives the bits back; "nan", "inf"
  std::string candidate_value;
};

struct Comparison {
  bool match = false;
  std::string difference;  // why no element could be compared (dtype or shape differ), else ""
  std::string type;        // of the elements, as they were compared: "f32", "e4m3", "u8"
  bool by_value = false;   // two float dtypes were compared as f64 values: ulps are not counted, bits are f64's
  Shape shape;
  std::int64_t elements = 0;
  std::int64_t differing = 0;   // bits differ
  std::int64_t mismatches = 0;  // beyond the tolerance, element by element (under kNorm: non-finite mismatches alone)
  std::int64_t nonfinite_mismatches = 0;  // mismatches where either is NaN or infinite
  // Over the pairs of finite numbers; ulp counts codes from one to the other, -0 and +0 being the same.
  std::uint64_t worst_ulp = 0;
  std::uint64_t p99_ulp = 0;  // 99 % of the pairs differ by no more (nearest rank)
  double max_abs = 0;         // of |candidate - reference|
  double max_rel = 0;         // of |candidate - reference| / |reference|; infinite where a reference of 0 is missed
  double norm = 0;            // norm2(candidate - reference) / norm2(reference)
  std::optional<ElementPair> first;            // first mismatch in row-major order (kNorm: first difference)
  std::optional<ElementPair> first_nonfinite;  // first of the non-finite mismatches
  std::optional<ElementPair> worst;            // first pair with the worst ulp, when that is not 0
};

// Compares elements as what the dtype says or, when `as` is not "", as that type: a dtype's name ("f32", "e4m3",
// "u16") or a numerics format without one ("e2m1", "e5m6", "tf32", "e8m13"); then both arrays hold its codes in
// elements of its width. Differing shapes are a mismatch, told in `difference`. So are differing dtypes, but for two
// floats under kAbsolute, kRelative and kNorm, which are compared by value.
// Errors: an unknown `as`, elements of another width, codes with bits that the format does not have: bad input.
[[nodiscard]] Comparison compare(const Tensor& reference, const Tensor& candidate, const Tolerance& tolerance,
                                 const std::string& as = "");

}  // namespace lastbit::tensor
