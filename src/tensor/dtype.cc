#include "tensor/dtype.h"

#include "core/error.h"

namespace lastbit::tensor {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kBool:
    case DType::kI8:
    case DType::kU8:
    case DType::kE4M3:
    case DType::kE5M2:
    case DType::kE4M3Fnuz:
    case DType::kE5M2Fnuz:
    case DType::kE8M0:
      return 1;
    case DType::kI16:
    case DType::kU16:
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kI32:
    case DType::kU32:
    case DType::kF32:
      return 4;
    case DType::kI64:
    case DType::kU64:
    case DType::kF64:
      return 8;
  }
  core::check(false, "unknown dtype");
  return 0;
}

std::string_view name(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return "bool";
    case DType::kI8:
      return "i8";
    case DType::kU8:
      return "u8";
    case DType::kI16:
      return "i16";
    case DType::kU16:
      return "u16";
    case DType::kI32:
      return "i32";
    case DType::kU32:
      return "u32";
    case DType::kI64:
      return "i64";
    case DType::kU64:
      return "u64";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kF32:
      return "f32";
    case DType::kF64:
      return "f64";
    case DType::kE4M3:
      return "e4m3";
    case DType::kE5M2:
      return "e5m2";
    case DType::kE4M3Fnuz:
      return "e4m3fnuz";
    case DType::kE5M2Fnuz:
      return "e5m2fnuz";
    case DType::kE8M0:
      return "e8m0";
  }
  core::check(false, "unknown dtype");
  return "";
}

bool holds(DType dtype, DType access) {
  if (dtype == access) return true;
  const bool code = access == DType::kU8 || access == DType::kU16 || access == DType::kU32 || access == DType::kU64;
  const bool is_float = dtype >= DType::kF16;
  const bool byte_bool = dtype == DType::kBool && access == DType::kU8;
  return byte_bool || (code && is_float && size_of(dtype) == size_of(access));
}

}  // namespace lastbit::tensor
