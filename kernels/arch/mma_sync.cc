#include "kernels/arch/mma_sync.h"

#include <array>
#include <bit>
#include <cstddef>

#include "kernels/simt/block.h"
#include "numerics/gemm.h"
#include "numerics/units.h"

namespace lastbit::arch {
namespace {

using simt::Block;
using simt::Meeting;

constexpr int kRows = 16;
constexpr int kCols = 8;
constexpr int kDepth = 16;

struct WarpProduct {
  float* d;
  const unsigned* a;
  const unsigned* b;
};

template <std::size_t kCount>
void put_pair(std::array<std::byte, kCount>& codes, int row, int col, unsigned pair) {
  std::memcpy(codes.data() + 2 * (row * kDepth + col), &pair, sizeof(pair));
}

void multiply_warp(const Meeting& meeting) {
  std::array<std::byte, 2 * kRows * kDepth> codes_a{};
  std::array<std::byte, 2 * kCols * kDepth> codes_b{};
  for (int lane = 0; lane < simt::kWarpLanes; ++lane) {
    const auto* const one = meeting.payload<WarpProduct>(lane);
    if (one == nullptr)
      Block::current()->fail(simt::FindingKind::kWarp, "mma.sync by a warp some lanes of which ended");
    const int g = lane / 4;
    const int t = lane % 4;
    for (int i = 0; i < 4; ++i) put_pair(codes_a, g + i % 2 * 8, 2 * t + i / 2 * 8, one->a[i]);
    for (int i = 0; i < 2; ++i) put_pair(codes_b, g, 2 * t + i * 8, one->b[i]);
  }
  static const numerics::MmaRule rule = numerics::rule_of(numerics::find_unit("ampere_mma"), numerics::Format::kBF16,
                                                          numerics::Format::kBF16, numerics::Format::kF32);
  numerics::OperandPanel a;
  numerics::OperandPanel b;
  a.assign({rule.a, kRows, kDepth, codes_a}, 0, kRows, 0, kDepth, kDepth);
  b.assign({rule.b, kCols, kDepth, codes_b}, 0, kCols, 0, kDepth, kDepth);
  for (int lane = 0; lane < simt::kWarpLanes; ++lane) {
    float* const d = meeting.payload<WarpProduct>(lane)->d;
    for (int i = 0; i < 4; ++i) {
      auto sum = std::bit_cast<std::uint32_t>(d[i]);
      for (int k = 0; k < kDepth; k += rule.step_k)
        sum = numerics::mma_step(rule, a.at(lane / 4 + i / 2 * 8, k), b.at(lane % 4 * 2 + i % 2, k), sum);
      d[i] = std::bit_cast<float>(sum);
    }
  }
}

}  // namespace

void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  WarpProduct mine{d, a, b};
  simt::meet({"mma.sync", simt::kWarpLanes, ~0U, &mine, false, {}}, multiply_warp);
}

}  // namespace lastbit::arch
