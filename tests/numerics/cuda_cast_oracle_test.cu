// Our casts against CUDA's own host conversions (cuda_fp8.h, cuda_fp4.h, cuda_bf16.h, cuda_fp16.h): all 65,536 BF16
// inputs and a million FP32 inputs. A host program; it needs nvcc to compile and no GPU to run.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp4.h>
#include <cuda_fp8.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "core/philox.h"
#include "numerics/format.h"

namespace {

using lastbit::numerics::Convention;
using lastbit::numerics::EncodeOptions;
using lastbit::numerics::Format;
using lastbit::numerics::Overflow;
using lastbit::numerics::Rounding;

float from_bits(std::uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// BF16 patterns first, then words of which three quarters are moved into the exponents where FP8 rounds.
std::vector<float> inputs() {
  std::vector<float> values;
  for (std::uint32_t i = 0; i < 65536; ++i) values.push_back(from_bits(i << 16));
  const lastbit::core::RandomStream stream(1, "cuda cast oracle");
  for (std::uint64_t i = 0; i < 1000000; ++i) {
    std::uint32_t bits = stream.word(2 * i);
    const std::uint32_t choice = stream.word(2 * i + 1);
    if (i % 4 != 0) bits = (bits & 0x807fffffU) | (101 + choice % 44) << 23;
    if (i % 8 == 7) bits = (bits & ~0x1fffffU) | 0x100000U + (choice >> 16) % 3 - 1;  // ties and their neighbours
    values.push_back(from_bits(bits));
  }
  return values;
}

struct Oracle {
  const char* name;
  Format format;
  EncodeOptions options;
  std::function<std::uint32_t(float)> convert;
};

std::uint32_t fp8(float value, __nv_saturation_t saturation, __nv_fp8_interpretation_t kind) {
  return __nv_cvt_float_to_fp8(value, saturation, kind);
}

std::vector<Oracle> oracles() {
  const EncodeOptions saturate{Rounding::kNearestEven, Overflow::kSaturate, Convention::kCuda};
  const EncodeOptions none{Rounding::kNearestEven, Overflow::kNone, Convention::kCuda};
  const EncodeOptions zero{Rounding::kTowardZero, Overflow::kNone, Convention::kCuda};
  const EncodeOptions scale_up{Rounding::kUp, Overflow::kSaturate, Convention::kCuda};
  const EncodeOptions scale_zero{Rounding::kTowardZero, Overflow::kSaturate, Convention::kCuda};
  return {
      {"e4m3 satfinite", Format::kE4M3, saturate, [](float x) { return fp8(x, __NV_SATFINITE, __NV_E4M3); }},
      {"e4m3", Format::kE4M3, none, [](float x) { return fp8(x, __NV_NOSAT, __NV_E4M3); }},
      {"e5m2 satfinite", Format::kE5M2, saturate, [](float x) { return fp8(x, __NV_SATFINITE, __NV_E5M2); }},
      {"e5m2", Format::kE5M2, none, [](float x) { return fp8(x, __NV_NOSAT, __NV_E5M2); }},
      {"e2m1", Format::kE2M1, saturate,
       [](float x) { return std::uint32_t{__nv_cvt_float_to_fp4(x, __NV_E2M1, cudaRoundNearest)}; }},
      {"e8m0 up", Format::kE8M0, scale_up,
       [](float x) { return std::uint32_t{__nv_cvt_float_to_e8m0(x, __NV_SATFINITE, cudaRoundPosInf)}; }},
      {"e8m0 zero", Format::kE8M0, scale_zero,
       [](float x) { return std::uint32_t{__nv_cvt_float_to_e8m0(x, __NV_SATFINITE, cudaRoundZero)}; }},
      {"bf16", Format::kBF16, none, [](float x) { return std::uint32_t{__nv_bfloat16_raw(__float2bfloat16_rn(x)).x}; }},
      {"bf16 zero", Format::kBF16, zero,
       [](float x) { return std::uint32_t{__nv_bfloat16_raw(__float2bfloat16_rz(x)).x}; }},
      {"f16", Format::kF16, none, [](float x) { return std::uint32_t{__half_raw(__float2half_rn(x)).x}; }},
      {"f16 zero", Format::kF16, zero, [](float x) { return std::uint32_t{__half_raw(__float2half_rz(x)).x}; }},
  };
}

}  // namespace

int main() {
  const std::vector<float> values = inputs();
  int failed = 0;
  for (const Oracle& oracle : oracles()) {
    long different = 0;
    for (const float value : values) {
      const std::uint32_t ours = lastbit::numerics::encode(value, oracle.format, oracle.options);
      const std::uint32_t theirs = oracle.convert(value);
      if (ours == theirs) continue;
      if (different++ == 0) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof(bits));
        std::printf("%s: first at input %08x: ours %x, CUDA %x\n", oracle.name, bits, ours, theirs);
      }
    }
    std::printf("%-16s %zu inputs, %ld differ\n", oracle.name, values.size(), different);
    failed += different != 0 ? 1 : 0;
  }
  return failed == 0 ? 0 : 1;
}
