// Values for kernels that take FP32 or BF16 codes: T is float or std::uint16_t.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "core/philox.h"
#include "kernels/simt/device_array.h"
#include "kernels/simt/every_order.h"
#include "kernels/version.h"
#include "numerics/bf16.h"
#include "tensor/tensor.h"

namespace lastbit::kernels {

template <typename T>
constexpr bool kIsBf16 = std::is_same_v<T, std::uint16_t>;

// x as T has it.
template <typename T>
float settled(float x) {
  return kIsBf16<T> ? numerics::round_bf16(x) : x;
}

// Uniform in [-size, size), rounded to T.
template <typename T>
std::vector<float> draw_typed(std::size_t count, const std::string& name, float size = 2) {
  const core::RandomStream stream(13, name);
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(settled<T>(size * (2 * stream.uniform(i) - 1)));
  return values;
}

template <typename T>
simt::DeviceArray<T> upload(const std::string& name, const std::vector<float>& values) {
  std::vector<T> typed;
  for (const float value : values) {
    if constexpr (kIsBf16<T>)
      typed.push_back(numerics::bf16_code(value));
    else
      typed.push_back(value);
  }
  return simt::DeviceArray<T>(name, std::span<const T>(typed));
}

template <typename T>
void add_download(std::vector<float>& all, const simt::DeviceArray<T>& array) {
  for (const T value : array.download()) {
    if constexpr (kIsBf16<T>)
      all.push_back(numerics::bf16_value(value));
    else
      all.push_back(value);
  }
}

inline tensor::Tensor matrix_of(const std::vector<float>& values, std::int64_t rows, std::int64_t cols) {
  return tensor::Tensor::from<float>({rows, cols}, values);
}

// The elements of `result` from `first` on have the bits of `expected`, rounded to T.
template <typename T>
void expect_bits(const char* what, const std::vector<float>& result, std::size_t first,
                 std::span<const float> expected) {
  ASSERT_LE(first + expected.size(), result.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(result[first + i]), std::bit_cast<std::uint32_t>(settled<T>(expected[i])))
        << what << " " << i << ": " << result[first + i] << ", expected " << expected[i];
}

// They are within `bounds` and half a unit in the last place of T; a bound is small beside what it bounds.
template <typename T>
void expect_near(const char* what, const std::vector<float>& result, std::size_t first, std::span<const float> expected,
                 const std::vector<double>& bounds) {
  ASSERT_LE(first + expected.size(), result.size());
  double largest = 0;
  double largest_bound = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double rounding = std::abs(static_cast<double>(expected[i])) * (kIsBf16<T> ? 0x1p-8 : 0x1p-24);
    ASSERT_LE(std::abs(static_cast<double>(result[first + i]) - static_cast<double>(expected[i])),
              bounds[i] + rounding * 1.01)
        << what << " " << i << ": " << result[first + i] << ", expected " << expected[i];
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    largest_bound = std::max(largest_bound, bounds[i]);
  }
  EXPECT_LE(largest_bound, 1e-4 * largest) << what;
}

inline const char* name_of(Version version) { return version == Version::kTuned ? "tuned" : "v0"; }

// Runs body.template operator()<T>(version) for both types and versions.
template <typename Body>
void for_types_and_versions(const Body& body) {
  for (const Version version : {Version::kObvious, Version::kTuned}) {
    {
      SCOPED_TRACE(std::string("FP32, ") + name_of(version));
      body.template operator()<float>(version);
    }
    {
      SCOPED_TRACE(std::string("BF16, ") + name_of(version));
      body.template operator()<std::uint16_t>(version);
    }
  }
}

}  // namespace lastbit::kernels
