#include "kernels/arch/wgmma.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>
#include <vector>

#include "kernels/simt/block.h"
#include "numerics/gemm.h"
#include "numerics/units.h"

namespace lastbit::arch {
namespace {

using simt::Access;
using simt::Block;
using simt::FindingKind;
using simt::GroupKind;
using simt::kGroupThreads;

struct Product {
  float* d;
  int columns;
  std::uint64_t a;
  std::uint64_t b;
  bool accumulate;
};

// Shared memory of rows [0, rows) behind a descriptor of wgmma_descriptor().
template <typename Visit>
void each_row_half(std::uint64_t descriptor, int rows, const Visit& visit) {
  const auto begin = static_cast<unsigned>((descriptor & 0x3fffU) << 4);
  const auto group = static_cast<unsigned>((descriptor >> 32 & 0x3fffU) << 4);
  for (int row = 0; row < rows; ++row)
    for (const unsigned half : {0U, 16U}) {
      const auto r = static_cast<unsigned>(row);
      visit(row, half, simt::dynamic_shared() + swizzle_128(begin + r / 8 * group + r % 8 * 128 + half));
    }
}

std::vector<std::byte> gather(std::uint64_t descriptor, int rows) {
  std::vector<std::byte> codes(static_cast<std::size_t>(rows) * kWgmmaBytes);
  each_row_half(descriptor, rows, [&](int row, unsigned half, const unsigned char* from) {
    std::memcpy(codes.data() + static_cast<std::size_t>(row) * kWgmmaBytes + half, from, 16);
  });
  return codes;
}

// Until `wait` of the last of the group's threads, the operands may not be overwritten.
void keep_operands(const Product& product) {
  Block& block = *Block::current();
  const auto each = [&block, product](const auto& visit) {
    each_row_half(product.a, kWgmmaRows, visit);
    each_row_half(product.b, product.columns, visit);
  };
  each([&](int, unsigned, const unsigned char* place) {
    block.access_async(reinterpret_cast<std::uintptr_t>(place), 16, Access::kRead);
    block.add_pending_reads(reinterpret_cast<std::uintptr_t>(place), 16, 1);
  });
}

void multiply(const simt::Meeting& meeting) {
  Block& block = *Block::current();
  const Product& first = *meeting.payload<Product>(0);
  for (int i = 0; i < kGroupThreads; ++i) {
    const auto* const one = meeting.payload<Product>(i);
    if (one == nullptr || one->a != first.a || one->b != first.b || one->accumulate != first.accumulate)
      block.fail(FindingKind::kMisuse, "wgmma by a warpgroup whose threads have other operands, or have ended");
  }
  keep_operands(first);
  static const numerics::MmaRule rule = numerics::rule_of(numerics::find_unit("hopper_wgmma"), numerics::Format::kE4M3,
                                                          numerics::Format::kE4M3, numerics::Format::kF32);
  const std::vector<std::byte> codes_a = gather(first.a, kWgmmaRows);
  const std::vector<std::byte> codes_b = gather(first.b, first.columns);
  numerics::OperandPanel a;
  numerics::OperandPanel b;
  a.assign({rule.a, kWgmmaRows, kWgmmaBytes, codes_a}, 0, kWgmmaRows, 0, kWgmmaBytes, kWgmmaBytes);
  b.assign({rule.b, first.columns, kWgmmaBytes, codes_b}, 0, first.columns, 0, kWgmmaBytes, kWgmmaBytes);
  for (int thread = 0; thread < kGroupThreads; ++thread) {
    float* const d = meeting.payload<Product>(thread)->d;
    const auto count = static_cast<std::size_t>(first.columns / 2);
    simt::Accumulators& result = block.async().accumulators()[d];
    if (result.running++ == 0) result.values.assign(d, d + count);
    for (std::size_t i = 0; i < count; ++i) {
      const WgmmaPlace place = wgmma_place(thread, static_cast<int>(i));
      const std::uint32_t c = first.accumulate ? std::bit_cast<std::uint32_t>(result.values[i]) : 0;
      result.values[i] = std::bit_cast<float>(numerics::mma_step(rule, a.at(place.row, 0), b.at(place.col, 0), c));
      d[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
}

// This thread has waited for one product.
void deliver(float* d) {
  auto& all = Block::current()->async().accumulators();
  const auto found = all.find(d);
  if (--found->second.running > 0) return;
  std::copy(found->second.values.begin(), found->second.values.end(), d);
  all.erase(found);
}

}  // namespace

void wgmma_fence() { Block::current()->product_fence() = true; }

void wgmma_e4m3(float* d, int columns, std::uint64_t a, std::uint64_t b, bool accumulate) {
  Block& block = *Block::current();
  if (!block.product_fence()) block.fail(FindingKind::kFence, "wgmma without wgmma.fence before it");
  Product mine{d, columns, a, b, accumulate};
  simt::meet({"wgmma", kGroupThreads, ~0U, &mine, false, {}}, multiply);
  const bool last = block.thread() % kGroupThreads == kGroupThreads - 1;
  block.groups(GroupKind::kProduct).add([&block, mine, last] {
    deliver(mine.d);
    if (!last) return;
    const auto release = [&](int, unsigned, const unsigned char* place) {
      block.add_pending_reads(reinterpret_cast<std::uintptr_t>(place), 16, -1);
    };
    each_row_half(mine.a, kWgmmaRows, release);
    each_row_half(mine.b, mine.columns, release);
  });
}

void wgmma_commit() { Block::current()->groups(GroupKind::kProduct).commit(); }

void wgmma_wait(int left) {
  Block& block = *Block::current();
  block.groups(GroupKind::kProduct).wait(static_cast<std::size_t>(left));
  block.product_fence() = false;
}

}  // namespace lastbit::arch
