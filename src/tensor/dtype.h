// Element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lastbit::tensor {

// FP8, E8M0, BF16 and FP16 elements are raw codes in 1 or 2 bytes; numerics gives them their values.
enum class DType : std::uint8_t {
  kBool,
  kI8,
  kU8,
  kI16,
  kU16,
  kI32,
  kU32,
  kI64,
  kU64,
  kF16,
  kBF16,
  kF32,
  kF64,
  kE4M3,
  kE5M2,
  kE4M3Fnuz,
  kE5M2Fnuz,
  kE8M0,
};

[[nodiscard]] std::size_t size_of(DType dtype);    // bytes an element
[[nodiscard]] std::string_view name(DType dtype);  // "f32", "bf16", "e4m3", "i64", ...

// The DType whose elements a C++ type holds: float, double and the integer types. 16-bit and 8-bit floats are read
// as their codes (uint16_t, uint8_t): see holds().
template <typename T>
inline constexpr DType kDTypeOf = DType::kBool;
template <>
inline constexpr DType kDTypeOf<bool> = DType::kBool;
template <>
inline constexpr DType kDTypeOf<std::int8_t> = DType::kI8;
template <>
inline constexpr DType kDTypeOf<std::uint8_t> = DType::kU8;
template <>
inline constexpr DType kDTypeOf<std::int16_t> = DType::kI16;
template <>
inline constexpr DType kDTypeOf<std::uint16_t> = DType::kU16;
template <>
inline constexpr DType kDTypeOf<std::int32_t> = DType::kI32;
template <>
inline constexpr DType kDTypeOf<std::uint32_t> = DType::kU32;
template <>
inline constexpr DType kDTypeOf<std::int64_t> = DType::kI64;
template <>
inline constexpr DType kDTypeOf<std::uint64_t> = DType::kU64;
template <>
inline constexpr DType kDTypeOf<float> = DType::kF32;
template <>
inline constexpr DType kDTypeOf<double> = DType::kF64;

// Whether elements of `dtype` may be accessed as the C++ type whose own DType is `access`: the same type, or the
// unsigned integer of the same width for a float's code (bf16 as uint16_t, e4m3 as uint8_t, f32 as uint32_t).
[[nodiscard]] bool holds(DType dtype, DType access);

}  // namespace lastbit::tensor
