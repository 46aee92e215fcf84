#include "numerics/angle.h"

#include <array>
#include <bit>
#include <cstdint>

namespace lastbit::numerics {
namespace {

// 64 zero bits, then the first 1184 binary digits of 2/pi, most significant first. The largest exponent of a double
// reads digits up to 969 + 192; the smallest one that needs a reduction reads 55 of the leading zeros.
constexpr int kLeadingZeros = 64;
constexpr std::array<std::uint32_t, 39> kTwoOverPi = {
    0u,          0u,          0xA2F9836Eu, 0x4E441529u, 0xFC2757D1u, 0xF534DDC0u, 0xDB629599u, 0x3C439041u,
    0xFE5163ABu, 0xDEBBC561u, 0xB7246E3Au, 0x424DD2E0u, 0x06492EEAu, 0x09D1921Cu, 0xFE1DEB1Cu, 0xB129A73Eu,
    0xE88235F5u, 0x2EBB4484u, 0xE99C7026u, 0xB45F7E41u, 0x3991D639u, 0x835339F4u, 0x9C845F8Bu, 0xBDF9283Bu,
    0x1FF897FFu, 0xDE05980Fu, 0xEF2F118Bu, 0x5A0A6D1Fu, 0x6D367ECFu, 0x27CB09B7u, 0x4F463F66u, 0x9E5FEA2Du,
    0x7527BAC7u, 0xEBE5F17Bu, 0x3D0739F7u, 0x8A5292EAu, 0x6BFB5FB1u, 0x1F8D5D08u, 0x56033046u};

constexpr int kWindowWords = 6;  // 192 bits: 2 for the quadrant, 53 + 62 that may cancel, 64 to keep, 11 spare

// Little-endian words of the 192 digits of 2/pi that follow digit `start` (digit 1 has the weight 1/2).
std::array<std::uint32_t, kWindowWords> digits_after(int start) {
  const int bit = start + kLeadingZeros;
  const int shift = bit % 32;
  std::array<std::uint32_t, kWindowWords> window{};
  for (int i = 0; i < kWindowWords; ++i) {
    const auto word = static_cast<std::size_t>(bit / 32) + static_cast<std::size_t>(i);
    const std::uint64_t pair = (static_cast<std::uint64_t>(kTwoOverPi[word]) << 32) | kTwoOverPi[word + 1];
    window[static_cast<std::size_t>(kWindowWords - 1 - i)] = static_cast<std::uint32_t>(pair >> (32 - shift));
  }
  return window;
}

// The low 192 bits of window * mantissa.
std::array<std::uint32_t, kWindowWords> multiply(const std::array<std::uint32_t, kWindowWords>& window,
                                                 std::uint64_t mantissa) {
  const std::array<std::uint64_t, 2> factor = {mantissa & 0xFFFFFFFFu, mantissa >> 32};
  std::array<std::uint32_t, kWindowWords> product{};
  for (std::size_t j = 0; j < factor.size(); ++j) {
    std::uint64_t carry = 0;
    for (std::size_t i = 0; i + j < kWindowWords; ++i) {
      carry += window[i] * factor[j] + product[i + j];
      product[i + j] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
  }
  return product;
}

}  // namespace

ReducedAngle reduce_angle(double x) {
  constexpr double kPiOver4 = 0x1.921fb54442d18p-1;
  constexpr double kPiOver2 = 0x1.921fb54442d18p+0;
  if (x <= kPiOver4 && x >= -kPiOver4) return {0, x};

  // |x| = mantissa 2^exponent. Digits of 2/pi up to digit exponent - 2 contribute multiples of 4 quadrants: skipped.
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const std::uint64_t mantissa = (bits & 0xFFFFFFFFFFFFFu) | (std::uint64_t{1} << 52);
  const int exponent = static_cast<int>((bits >> 52) & 0x7FF) - 1075;
  const auto product = multiply(digits_after(exponent - 2), mantissa);  // |x| 2/pi modulo 4, 190 binary places

  const auto word = [&](std::size_t i) { return static_cast<std::uint64_t>(product[i]); };
  auto quadrant = static_cast<int>(product[5] >> 30);
  std::uint64_t high = (word(5) << 34) | (word(4) << 2) | (word(3) >> 30);
  std::uint64_t low = (word(3) << 34) | (word(2) << 2) | (word(1) >> 30);
  const bool upper_half = (high >> 63) != 0;
  if (upper_half) {  // nearer to the next quadrant: a negative remainder
    quadrant += 1;
    low = ~low + 1;
    high = ~high + (low == 0 ? 1 : 0);
  }
  const double fraction = static_cast<double>(high) * 0x1p-64 + static_cast<double>(low) * 0x1p-128;
  const double remainder = (upper_half ? -fraction : fraction) * kPiOver2;
  return x > 0 ? ReducedAngle{quadrant & 3, remainder} : ReducedAngle{-quadrant & 3, -remainder};
}

}  // namespace lastbit::numerics
