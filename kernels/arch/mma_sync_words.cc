#include "kernels/arch/mma_sync_words.h"

#include <array>
#include <bit>
#include <cstddef>

#include "kernels/simt/block.h"
#include "numerics/gemm.h"
#include "numerics/units.h"

namespace lastbit::arch {
namespace {

using numerics::Format;

constexpr int kWordRows = 16;
constexpr int kWordCols = 8;
constexpr int kRowBytes = 32;

struct WordProduct {
  MmaTypes types;
  float* d;
  const unsigned* a;
  const unsigned* b;
};

const numerics::MmaRule& word_rule(MmaTypes types) {
  static const auto rule = [](Format a, Format b) {
    return numerics::rule_of(numerics::find_unit("hopper_mma_sync"), a, b, Format::kF32);
  };
  static const std::array<numerics::MmaRule, 6> rules{
      rule(Format::kE4M3, Format::kE4M3), rule(Format::kE5M2, Format::kE5M2), rule(Format::kE4M3, Format::kE5M2),
      rule(Format::kF16, Format::kF16),   rule(Format::kBF16, Format::kBF16), rule(Format::kTF32, Format::kTF32)};
  return rules[static_cast<std::size_t>(types)];
}

template <std::size_t kCount>
void put_word(std::array<std::byte, kCount>& codes, int row, int word, unsigned value) {
  std::memcpy(codes.data() + row * kRowBytes + 4 * word, &value, sizeof(value));
}

void multiply_words(const simt::Meeting& meeting) {
  std::array<std::byte, kWordRows * kRowBytes> codes_a{};
  std::array<std::byte, kWordCols * kRowBytes> codes_b{};
  const auto* const first = meeting.payload<WordProduct>(0);
  for (int lane = 0; lane < simt::kWarpLanes; ++lane) {
    const auto* const one = meeting.payload<WordProduct>(lane);
    if (one == nullptr || one->types != first->types)
      simt::Block::current()->fail(simt::FindingKind::kWarp, "mma.sync by a warp whose lanes differ, or have ended");
    for (int i = 0; i < 4; ++i) put_word(codes_a, lane / 4 + i % 2 * 8, lane % 4 + i / 2 * 4, one->a[i]);
    for (int i = 0; i < 2; ++i) put_word(codes_b, lane / 4, lane % 4 + i * 4, one->b[i]);
  }
  const numerics::MmaRule& rule = word_rule(first->types);
  const int depth = kRowBytes / numerics::describe(rule.a).storage_bytes;
  numerics::OperandPanel a;
  numerics::OperandPanel b;
  a.assign({rule.a, kWordRows, depth, codes_a}, 0, kWordRows, 0, depth, depth);
  b.assign({rule.b, kWordCols, depth, codes_b}, 0, kWordCols, 0, depth, depth);
  for (int lane = 0; lane < simt::kWarpLanes; ++lane) {
    float* const d = meeting.payload<WordProduct>(lane)->d;
    for (int i = 0; i < 4; ++i) {
      auto sum = std::bit_cast<std::uint32_t>(d[i]);
      for (int k = 0; k < depth; k += rule.step_k)
        sum = numerics::mma_step(rule, a.at(lane / 4 + i / 2 * 8, k), b.at(lane % 4 * 2 + i % 2, k), sum);
      d[i] = std::bit_cast<float>(sum);
    }
  }
}

}  // namespace

void mma_sync_words(MmaTypes types, float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  WordProduct mine{types, d, a, b};
  simt::meet({"mma.sync", simt::kWarpLanes, ~0U, &mine, false, {}}, multiply_words);
}

}  // namespace lastbit::arch
