// The floating-point formats of the field, each as one descriptor, and conversions between their codes and FP32 in
// integer arithmetic.
//
// A code is the unsigned integer that a format's bits spell. TF32 and E8M13 (the 13-fraction-bit output of Hopper's and
// Ada's FP8 tensor cores) are spelled as FP32 patterns whose low 13 or 10 bits are zero; E5M6 sits in the low 12 bits
// of 16. Sources: OCP 8-bit and MX specifications (E4M3, E5M2, E8M0, E2M1), Graphcore/AMD/Qualcomm for FNUZ, IEEE 754
// for the rest. E5M6 (the 12-bit activation cache of the DeepSeek-V3 report, section 3.3.3) is unpublished to the bit;
// here it is IEEE-like: bias 15, subnormals, Inf and NaN in the top exponent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lastbit::numerics {

enum class Format : std::uint8_t {
  kE4M3,      // "e4m3": E4M3FN, no Inf, one NaN a sign
  kE5M2,      // "e5m2"
  kE4M3Fnuz,  // "e4m3fnuz": no Inf, no -0, NaN 0x80 (CDNA3's fp8)
  kE5M2Fnuz,  // "e5m2fnuz" (CDNA3's bf8)
  kE8M0,      // "e8m0": a power of two, no sign, no zero, NaN 0xff
  kE2M1,      // "e2m1": no Inf, no NaN; one code a byte
  kE5M6,      // "e5m6"
  kF16,       // "f16"
  kBF16,      // "bf16"
  kTF32,      // "tf32"
  kE8M13,     // "e8m13"
  kF32,       // "f32"
};

// Which codes are not numbers.
enum class Specials : std::uint8_t {
  kIeee,     // top exponent: Inf with fraction 0, else NaN
  kNanOnly,  // all ones but the sign: NaN
  kFnuz,     // the code of -0: NaN
  kNone,     // every code is a number
  kScale,    // E8M0's own rules
};

struct FormatDescriptor {
  Format format;
  std::string_view name;
  int exponent_bits;
  int fraction_bits;
  int bias;
  Specials specials;
  int code_shift;     // unused low bits of a code
  int storage_bytes;  // of one code in an array: 1, 2 or 4

  [[nodiscard]] int min_exponent() const { return 1 - bias; }  // of the smallest normal number, and of subnormals
  [[nodiscard]] std::uint32_t sign_code() const { return 1u << (exponent_bits + fraction_bits); }
  [[nodiscard]] std::uint32_t max_finite_code() const;  // without sign, before code_shift
};

[[nodiscard]] const FormatDescriptor& describe(Format format);
[[nodiscard]] std::string_view name(Format format);
[[nodiscard]] std::optional<Format> find_format(std::string_view name);
[[nodiscard]] std::vector<std::string> format_names();

enum class NumberKind : std::uint8_t { kZero, kFinite, kInf, kNan };

// A code taken apart: value = significand * 2^(exponent - fraction_bits), the sign inside `significand`, which is
// below 2^(fraction_bits + 1) in magnitude. Subnormals keep the format's least exponent. Zero, Inf and NaN have
// significand 0; `negative` tells the sign of all kinds.
struct Unpacked {
  NumberKind kind;
  bool negative;
  std::int32_t significand;
  std::int32_t exponent;
};
[[nodiscard]] Unpacked unpack(std::uint32_t code, Format format);

// The code's value in FP32, exact for every format. A NaN keeps its sign and becomes 0x7fc00000, but for formats
// that are leading bits of FP32 (BF16, TF32, E8M13, F32), whose NaNs keep their payload.
[[nodiscard]] float decode(std::uint32_t code, Format format);

enum class Rounding : std::uint8_t {
  kNearestEven,
  kTowardZero,
  kUp,          // toward +inf; E8M0 under `cuda`: the magnitude up (its sign is ignored)
  kStochastic,  // up in magnitude with the probability of the discarded fraction (its leading 32 bits)
};
enum class Overflow : std::uint8_t {
  kSaturate,  // beyond the largest finite number, and Inf: the largest finite number
  kNone,      // the format's Inf, or its NaN when it has no Inf; E2M1 has neither and saturates
};
// The two habits of the field, where they differ:
//   NaN:  kCuda 0x7f (E4M3, E5M2), all ones without sign (others), +6 (E2M1). kMlDtypes keeps the sign and sets the
//         quiet bit alone (E5M2 0x7e, BF16 0x7fc0); E4M3 0x7f | sign; E2M1 the zero of the opposite sign.
//   E8M0: kCuda ignores the sign, zero is 0x00, and knows kUp and kTowardZero (here also kNearestEven, with
//         kMlDtypes's ties: half goes up). kMlDtypes maps zero and negatives to NaN 0xff.
enum class Convention : std::uint8_t { kCuda, kMlDtypes };

struct EncodeOptions {
  Rounding rounding = Rounding::kNearestEven;
  Overflow overflow = Overflow::kSaturate;
  Convention convention = Convention::kCuda;
};

// What the libraries themselves do when not told otherwise: 8-bit and smaller formats saturate under kCuda, all else
// goes to Inf or NaN; E8M0 rounds up under kCuda, all else to nearest even.
[[nodiscard]] EncodeOptions default_encode_options(Format format, Convention convention = Convention::kCuda);

// The code of `value` rounded to `format`. As in IEEE 754, a finite value that overflows under a rounding that points
// back toward zero becomes the largest finite number whatever `overflow` says. `random_word`: a uniform 32-bit word
// (core::RandomStream) for kStochastic, unused otherwise.
[[nodiscard]] std::uint32_t encode(float value, Format format, const EncodeOptions& options,
                                   std::uint32_t random_word = 0);

}  // namespace lastbit::numerics
