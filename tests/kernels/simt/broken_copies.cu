#include <algorithm>

#include "kernels/arch/async_copy.h"
#include "kernels/arch/barriers.h"
#include "kernels/simt/cuda.h"
#include "simt/broken_kernels.h"

namespace lastbit::broken {
namespace {

using simt::FindingKind;

constexpr int kTile = 128;  // floats of a stage

__device__ float* stage(int i) { return reinterpret_cast<float*>(simt::dynamic_shared()) + i * kTile; }

// One of 32 threads copies 16 bytes of a tile.
__device__ void copy_tile(float* to, const float* from) {
  const int i = 4 * static_cast<int>(threadIdx.x);
  arch::cp_async_16(to + i, from + i, 16);
}

enum class CopyFault { kNone, kNoWait, kNoBarrier, kNeverWaited };

template <CopyFault kFault>
__global__ void copy_one_tile(const float* in, float* out, int n) {
  copy_tile(stage(0), in);
  arch::cp_async_commit();
  if constexpr (kFault == CopyFault::kNone || kFault == CopyFault::kNoBarrier) arch::cp_async_wait<0>();
  if constexpr (kFault != CopyFault::kNoBarrier) __syncthreads();
  if constexpr (kFault == CopyFault::kNeverWaited) return;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += 32) out[i] = stage(0)[n - 1 - i];
}

// Two stages: the next tile is copied while one is reversed.
enum class PipelineFault { kNone, kStale, kOverwrites };

template <PipelineFault kFault>
__global__ void two_stages(const float* in, float* out, int n) {
  const int tiles = n / kTile;
  copy_tile(stage(0), in);
  arch::cp_async_commit();
  for (int t = 0; t < tiles; ++t) {
    if (t + 1 < tiles) copy_tile(stage((t + 1) % 2), in + (t + 1) * kTile);
    arch::cp_async_commit();
    // All but the youngest group: with one wait too few the last tile is the one that is still under way.
    if (kFault == PipelineFault::kStale)
      arch::cp_async_wait<2>();
    else
      arch::cp_async_wait<1>();
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kTile; i += 32) out[t * kTile + i] = stage(t % 2)[kTile - 1 - i];
    if constexpr (kFault != PipelineFault::kOverwrites) __syncthreads();
  }
  arch::cp_async_wait<0>();
}

// ---- TMA

enum class TmaFault { kNone, kWrongParity, kWrongBytes, kNoConsumerBarrier, kNoFence, kNoSwizzle, kNoExpect };

constexpr int kRows = 8;  // of a box of 128 bytes
constexpr int kBoxBytes = kRows * 128;
constexpr int kBoxFloats = kBoxBytes / 4;

// Copies boxes of eight rows one after the other through a single stage.
template <TmaFault kFault>
__global__ void tma_boxes(const arch::TensorMap map, float* out, int boxes) {
  unsigned char* const box = simt::dynamic_shared();
  auto* const full = reinterpret_cast<std::uint64_t*>(box + kBoxBytes);
  const bool first = threadIdx.x == 0;
  if (first) {
    arch::mbarrier_init(full, 1);
    if constexpr (kFault != TmaFault::kNoFence) arch::fence_mbarrier_init();
  }
  if constexpr (kFault != TmaFault::kNoFence) __syncthreads();
  for (int b = 0; b < boxes; ++b) {
    if (first) {
      if constexpr (kFault != TmaFault::kNoExpect)
        arch::mbarrier_arrive_expect(full, kFault == TmaFault::kWrongBytes ? kBoxBytes + 16 : kBoxBytes);
      arch::tma_load(box, &map, full, b * kRows, 0);
    }
    arch::mbarrier_wait(full, static_cast<unsigned>(kFault == TmaFault::kWrongParity ? b + 1 : b) & 1U);
    for (int i = static_cast<int>(threadIdx.x); i < kBoxFloats; i += 32) {
      const auto place = static_cast<unsigned>(4 * i);
      const unsigned at = kFault == TmaFault::kNoSwizzle ? place : arch::swizzle_128(place);
      out[b * kBoxFloats + i] = *reinterpret_cast<const float*>(box + at);
    }
    if constexpr (kFault != TmaFault::kNoConsumerBarrier) __syncthreads();
  }
}

constexpr int kBoxes = 3;

BrokenKernel tma_case(const std::string& name, const std::string& fault, std::optional<FindingKind> finding,
                      void (*broken)(arch::TensorMap, float*, int)) {
  const auto run = [=](bool with_fault) {
    const std::vector<float> x = ramp(kBoxes * kBoxFloats);
    const simt::DeviceArray<float> in("in", std::span<const float>(x));
    const std::vector<float> zeros(x.size());
    const simt::DeviceArray<float> out("out", std::span<const float>(zeros));
    const arch::TensorMap map =
        arch::make_tensor_map(in.data(), {std::uint64_t{kBoxes} * kRows, 128, kRows, 128, true});
    simt::launch({name.c_str(), dim3{1}, dim3{32}, kBoxBytes + 8}, with_fault ? broken : tma_boxes<TmaFault::kNone>,
                 map, out.data(), kBoxes);
    return out.download();
  };
  return {name, fault, finding, run, ramp(kBoxes * kBoxFloats)};
}

std::vector<float> reversed_tiles(int n) {
  std::vector<float> x = ramp(n);
  for (auto tile = x.begin(); tile != x.end(); tile += kTile) std::reverse(tile, tile + kTile);
  return x;
}

}  // namespace

std::vector<BrokenKernel> broken_copies() {
  const PlainShape one{1, 32, kTile, kTile, kTile * 4};
  const PlainShape many{1, 32, 5 * kTile, 5 * kTile, 2 * kTile * 4};
  const auto copies = [&](const std::string& name, const std::string& fault, FindingKind finding, PlainKernel broken) {
    return plain_case(name, fault, finding, one, broken, copy_one_tile<CopyFault::kNone>, reversed_tiles(kTile));
  };
  const auto pipeline = [&](const std::string& name, const std::string& fault, FindingKind finding,
                            PlainKernel broken) {
    return plain_case(name, fault, finding, many, broken, two_stages<PipelineFault::kNone>, reversed_tiles(5 * kTile));
  };
  return {
      copies("cp_async_no_wait", "a tile read before cp.async.wait_group", FindingKind::kInFlight,
             copy_one_tile<CopyFault::kNoWait>),
      copies("cp_async_no_barrier", "others' part of a tile read without a barrier", FindingKind::kUninitialised,
             copy_one_tile<CopyFault::kNoBarrier>),
      copies("cp_async_never_waited", "the kernel ends before its copies", FindingKind::kInFlight,
             copy_one_tile<CopyFault::kNeverWaited>),
      pipeline("pipeline_stale", "waits for one group too few", FindingKind::kInFlight,
               two_stages<PipelineFault::kStale>),
      pipeline("pipeline_overwrites", "a stage filled while others still read it", FindingKind::kInFlight,
               two_stages<PipelineFault::kOverwrites>),
      tma_case("tma_wrong_parity", "waits for the other phase of an mbarrier", FindingKind::kUninitialised,
               tma_boxes<TmaFault::kWrongParity>),
      tma_case("tma_wrong_bytes", "announces more bytes than come", FindingKind::kBarrier,
               tma_boxes<TmaFault::kWrongBytes>),
      tma_case("tma_no_expect", "nobody arrives for the bytes", FindingKind::kBarrier, tma_boxes<TmaFault::kNoExpect>),
      tma_case("tma_no_consumer_barrier", "the next box is loaded while others read this one", FindingKind::kInFlight,
               tma_boxes<TmaFault::kNoConsumerBarrier>),
      tma_case("tma_no_barrier_after_init", "an mbarrier used by threads that do not know of its initialisation",
               FindingKind::kMisuse, tma_boxes<TmaFault::kNoFence>),
      tma_case("tma_no_swizzle", "reads a swizzled box as if it were plain", std::nullopt,
               tma_boxes<TmaFault::kNoSwizzle>),
  };
}

}  // namespace lastbit::broken
