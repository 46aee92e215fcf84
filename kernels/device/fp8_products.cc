#include "kernels/device/fp8_products.h"

#include "kernels/device/narrow.h"
#include "kernels/gemm/fp8_gemm.h"
#include "kernels/plain/mixture.h"
#include "kernels/quantize/quantize.h"

namespace lastbit::device {
namespace {

constexpr std::int64_t kScaleTile = 128;

std::int64_t scale_tiles(std::int64_t size) { return (size + kScaleTile - 1) / kScaleTile; }

bool is_of(const std::string& weight, const char* part) { return weight.find(part) != std::string::npos; }

// Scales are powers of two of what o_proj reads, which is kept for the backward pass, and of what routed experts read,
// which is sent to them.
bool has_power_scales(const std::string& weight) {
  return is_of(weight, ".o_proj.") || is_of(weight, "mlp.experts.gate_proj.") || is_of(weight, "mlp.experts.up_proj.");
}

}  // namespace

bool multiplied_in_fp8(const std::string& weight) {
  return is_of(weight, "_proj") && (is_of(weight, ".self_attn.") || is_of(weight, ".mlp."));
}

void allocate_fp8(Parameter& weight, Runtime& runtime) {
  const std::int64_t count = std::ssize(weight.tensors);
  const std::int64_t scales = scale_tiles(weight.rows()) * scale_tiles(weight.cols());
  weight.fp8_codes = runtime.allocate(weight.name, Element::kE4M3, count * weight.size());
  weight.fp8_scales = runtime.allocate(weight.name, Element::kF32, count * scales);
}

void quantize_fp8(const Parameter& weight, Runtime& runtime) {
  const std::int64_t scales = scale_tiles(weight.rows()) * scale_tiles(weight.cols());
  for (std::int64_t i = 0; i < std::ssize(weight.tensors); ++i) {
    const Array values = weight.value.part(i * weight.size(), weight.size());
    const Array codes = weight.fp8_codes.part(i * weight.size(), weight.size());
    const Array scale = weight.fp8_scales.part(i * scales, scales);
    runtime.run([&] {
      kernels::quantize_128x128({values.data, false, narrow(weight.rows()), narrow(weight.cols())}, {}, false,
                                codes.as<std::uint8_t>(), scale.f32(), kernels::Version::kTuned);
    });
  }
}

void fp8_linear(const Pass& pass, const Array& x, std::int64_t rows, const Array& offsets, const Parameter& weight,
                const Array& y) {
  Runtime& runtime = pass.runtime;
  const Runtime::Scope scope(runtime);
  const auto row_count = narrow(rows);
  const auto depth = narrow(weight.cols());
  const auto groups = narrow(std::ssize(weight.tensors));
  const Array codes = runtime.allocate("codes", Element::kE4M3, rows * weight.cols());
  const Array scales = runtime.allocate("scales", Element::kF32, rows * scale_tiles(weight.cols()));
  Array group_of_row;
  if (offsets.count > 0) group_of_row = runtime.allocate("group of row", Element::kI32, rows);
  kernels::QuantizeRule rule;
  rule.power = has_power_scales(weight.name);
  runtime.run([&] {
    kernels::quantize_1x128({x.data, true, row_count, depth}, rule, codes.as<std::uint8_t>(), scales.f32(),
                            kernels::Version::kTuned);
    if (offsets.count > 0) kernels::groups_of_rows(offsets.i64(), groups, row_count, group_of_row.as<std::int32_t>());
    kernels::fp8_gemm_1x128_128x128_nt_emulated(
        {codes.as<std::uint8_t>(), weight.fp8_codes.as<std::uint8_t>(), scales.f32(), weight.fp8_scales.f32(),
         group_of_row.as<std::int32_t>(), nullptr, y.data, row_count, narrow(weight.rows()), depth, groups, false,
         false, kernels::PromotionOrder::kDeepgemm, narrow(kScaleTile), kernels::OutputFormat::kBf16},
        kernels::Version::kTuned);
  });
}

}  // namespace lastbit::device
