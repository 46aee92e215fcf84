// What the candidate kernels of the tests share: arrays and settings by name, BF16 and E4M3 as numbers. Nothing here or
// beside it uses Lastbit but for the plugin's interface: these kernels are written from the contracts.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check/kernel_plugin.h"

namespace candidate {

inline const lastbit_array& find(const lastbit_array* arrays, int count, const char* name) {
  for (int i = 0; i < count; ++i)
    if (std::strcmp(arrays[i].name, name) == 0) return arrays[i];
  static const lastbit_array none{};
  return none;
}
inline const lastbit_array& in(const lastbit_kernel_call* call, const char* name) {
  return find(call->inputs, call->input_count, name);
}
inline const lastbit_array& out(const lastbit_kernel_call* call, const char* name) {
  return find(call->outputs, call->output_count, name);
}
template <typename T>
const T* input(const lastbit_kernel_call* call, const char* name) {
  return static_cast<const T*>(in(call, name).data);
}
template <typename T>
T* output(const lastbit_kernel_call* call, const char* name) {
  return static_cast<T*>(out(call, name).data);
}
inline std::string setting(const lastbit_kernel_call* call, const char* key) {
  for (int i = 0; i < call->setting_count; ++i)
    if (std::strcmp(call->settings[i].key, key) == 0) return call->settings[i].value;
  return "";
}
inline std::int64_t count(const lastbit_array& array) {
  std::int64_t n = 1;
  for (int i = 0; i < array.rank; ++i) n *= array.shape[i];
  return n;
}

inline float from_bf16(std::uint16_t code) { return std::bit_cast<float>(static_cast<std::uint32_t>(code) << 16); }
inline std::uint16_t to_bf16(float value) {
  if (std::isnan(value)) return 0x7fff;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline std::vector<float> bf16_input(const lastbit_kernel_call* call, const char* name) {
  const lastbit_array& array = in(call, name);
  std::vector<float> values(static_cast<std::size_t>(count(array)));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = from_bf16(static_cast<const std::uint16_t*>(array.data)[i]);
  return values;
}

// E4M3, nearest even, saturating.
inline std::uint8_t to_e4m3(float value, bool saturate = true) {
  const std::uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return 0x7f;
  const double size = std::abs(static_cast<double>(value));
  if (size > 448) {
    if (saturate) return sign | 0x7e;
    if (size > 464) return sign | 0x7f;
    return sign | 0x7e;
  }
  int exponent = size == 0 ? -6 : std::ilogb(size);
  if (exponent < -6) exponent = -6;
  const double steps = std::nearbyint(std::ldexp(size, 3 - exponent));
  int code = static_cast<int>(steps) + ((exponent + 6) << 3);  // carries into the exponent by itself
  return static_cast<std::uint8_t>(sign | code);
}

}  // namespace candidate

#define CANDIDATE(name) extern "C" int name(const lastbit_kernel_call* call)
