// SwiGLU alone, which has no contract: against silu in double, rounded once.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/layers/layers.h"
#include "kernels/simt/device_array.h"
#include "kernels/simt/every_order.h"
#include "numerics/bf16.h"
#include "numerics/elementary.h"

namespace lastbit::kernels {
namespace {

std::vector<std::uint16_t> codes(int count, double step, double begin) {
  std::vector<std::uint16_t> all;
  for (int i = 0; i < count; ++i) all.push_back(numerics::bf16_code(static_cast<float>(begin + step * i)));
  return all;
}

// In FP32 exp() of 2 ulp and three more roundings are far below half a BF16 ulp: the neighbour at most.
TEST(Swiglu, IsWithinOneUlp) {
  for (const int count : {1, 8, 77, 1031}) {
    const std::vector<std::uint16_t> gate = codes(count, 0.03, -12);
    const std::vector<std::uint16_t> up = codes(count, -0.013, 3);
    for (const Version version : {Version::kObvious, Version::kTuned}) {
      const auto y = simt::in_every_order("swiglu", [&] {
        const simt::DeviceArray<std::uint16_t> g("gate", std::span<const std::uint16_t>(gate));
        const simt::DeviceArray<std::uint16_t> u("up", std::span<const std::uint16_t>(up));
        const simt::DeviceArray<std::uint16_t> out("y", gate.size());
        swiglu(g.data(), u.data(), count, out.data(), version);
        return out.download();
      });
      for (std::size_t i = 0; i < y.size(); ++i) {
        const double exact = numerics::silu(static_cast<double>(numerics::bf16_value(gate[i]))) *
                             static_cast<double>(numerics::bf16_value(up[i]));
        const int expected = numerics::bf16_code(static_cast<float>(exact));
        ASSERT_LE(std::abs(expected - static_cast<int>(y[i])), 1) << "element " << i << " of " << count;
      }
    }
  }
}

}  // namespace
}  // namespace lastbit::kernels
