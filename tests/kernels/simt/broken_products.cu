#include <vector>

#include "kernels/arch/async_copy.h"
#include "kernels/arch/barriers.h"
#include "kernels/arch/wgmma.h"
#include "kernels/simt/cuda.h"
#include "simt/broken_kernels.h"

namespace lastbit::broken {
namespace {

using simt::FindingKind;

enum class Fault {
  kNone,
  kNoProxyFence,    // generic stores, then wgmma
  kNoSwizzle,       // operands laid out plainly under a descriptor that says otherwise
  kNoFence,         // no wgmma.fence
  kNoWait,          // accumulators read before wgmma.wait_group
  kOverwrites,      // an operand changed while wgmma reads it
  kNoAccumulation,  // the second half of K replaces the first
  kNoBarrier,       // other threads' stores not waited for
  kHalfAGroup,      // two of four warps
};

constexpr int kRows = 64;
constexpr int kCols = 128;
constexpr int kDepth = 64;
constexpr int kPitch = 128;  // bytes between rows in shared memory

// Rows of 64 codes each, where TMA would put them.
__device__ void place_rows(unsigned char* tile, const unsigned char* codes, int rows, bool swizzled) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * kDepth; i += 128) {
    const auto plain = static_cast<unsigned>(i / kDepth * kPitch + i % kDepth);
    tile[swizzled ? arch::swizzle_128(plain) : plain] = codes[i];
  }
}

template <Fault kFault>
__global__ void multiply(const unsigned char* a, const unsigned char* b, float* d) {
  unsigned char* const tile_a = simt::dynamic_shared();
  unsigned char* const tile_b = tile_a + kRows * kPitch;
  place_rows(tile_a, a, kRows, kFault != Fault::kNoSwizzle);
  place_rows(tile_b, b, kCols, kFault != Fault::kNoSwizzle);
  if constexpr (kFault != Fault::kNoProxyFence) arch::fence_proxy_async();
  if constexpr (kFault != Fault::kNoBarrier) __syncthreads();
  if (kFault == Fault::kHalfAGroup && threadIdx.x >= 64) return;
  float sums[64] = {};
  if constexpr (kFault != Fault::kNoFence) arch::wgmma_fence();
  for (int k = 0; k < kDepth; k += arch::kWgmmaBytes)
    arch::wgmma_m64n128k32_e4m3(sums, arch::wgmma_descriptor(tile_a, k), arch::wgmma_descriptor(tile_b, k),
                                k > 0 && kFault != Fault::kNoAccumulation);
  arch::wgmma_commit();
  if constexpr (kFault == Fault::kOverwrites) tile_a[arch::swizzle_128(threadIdx.x)] = 0;
  if constexpr (kFault != Fault::kNoWait) arch::wgmma_wait<0>();
  for (int i = 0; i < 64; ++i) {
    const arch::WgmmaPlace place = arch::wgmma_place(static_cast<int>(threadIdx.x), i);
    d[place.row * kCols + place.col] = sums[i];
  }
  if constexpr (kFault == Fault::kNoWait) arch::wgmma_wait<0>();
}

// Codes of 0, 1, 2 and -1, whose products any accumulator holds exactly.
std::vector<unsigned char> codes(int count, unsigned seed) {
  constexpr unsigned char kSmall[] = {0x00, 0x38, 0x40, 0xb8};
  std::vector<unsigned char> all;
  for (int i = 0; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    all.push_back(kSmall[seed >> 30]);
  }
  return all;
}

float value_of(unsigned char code) {
  if (code == 0) return 0;
  return code == 0x38 ? 1.0F : code == 0x40 ? 2.0F : -1.0F;
}

std::vector<float> product() {
  const std::vector<unsigned char> a = codes(kRows * kDepth, 1);
  const std::vector<unsigned char> b = codes(kCols * kDepth, 2);
  std::vector<float> d;
  for (std::size_t i = 0; i < kRows; ++i)
    for (std::size_t j = 0; j < kCols; ++j) {
      float sum = 0;
      for (std::size_t k = 0; k < kDepth; ++k) sum += value_of(a[i * kDepth + k]) * value_of(b[j * kDepth + k]);
      d.push_back(sum);
    }
  return d;
}

BrokenKernel product_case(const std::string& name, const std::string& fault, std::optional<FindingKind> finding,
                          void (*broken)(const unsigned char*, const unsigned char*, float*)) {
  const auto run = [=](bool with_fault) {
    const std::vector<unsigned char> codes_a = codes(kRows * kDepth, 1);
    const std::vector<unsigned char> codes_b = codes(kCols * kDepth, 2);
    const simt::DeviceArray<unsigned char> a("a", std::span<const unsigned char>(codes_a));
    const simt::DeviceArray<unsigned char> b("b", std::span<const unsigned char>(codes_b));
    const simt::DeviceArray<float> d("d", std::size_t{kRows} * kCols);
    simt::launch({name.c_str(), dim3{1}, dim3{128}, (kRows + kCols) * kPitch},
                 with_fault ? broken : multiply<Fault::kNone>, a.data(), b.data(), d.data());
    return d.download();
  };
  return {name, fault, finding, run, product()};
}

}  // namespace

std::vector<BrokenKernel> broken_products() {
  return {
      product_case("wgmma_no_proxy_fence", "operands stored without fence.proxy.async", FindingKind::kFence,
                   multiply<Fault::kNoProxyFence>),
      product_case("wgmma_no_swizzle", "operands without the swizzle of their descriptor", FindingKind::kUninitialised,
                   multiply<Fault::kNoSwizzle>),
      product_case("wgmma_no_fence", "no wgmma.fence before the first product", FindingKind::kFence,
                   multiply<Fault::kNoFence>),
      product_case("wgmma_no_wait", "accumulators read while products run", std::nullopt, multiply<Fault::kNoWait>),
      product_case("wgmma_overwrites", "an operand overwritten while products read it", FindingKind::kInFlight,
                   multiply<Fault::kOverwrites>),
      product_case("wgmma_no_accumulation", "scale-d of zero in the middle of K", std::nullopt,
                   multiply<Fault::kNoAccumulation>),
      product_case("wgmma_no_barrier", "operands that other threads store, without a barrier", FindingKind::kRace,
                   multiply<Fault::kNoBarrier>),
      product_case("wgmma_half_a_group", "two warps of a warpgroup have ended", FindingKind::kMisuse,
                   multiply<Fault::kHalfAGroup>),
  };
}

}  // namespace lastbit::broken
