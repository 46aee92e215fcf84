// What the executor gives kernels beyond what broken_kernels_test.cc shows: shapes of launches, codes of a byte beside
// each other, atomics, votes, several blocks, and a launch after one that failed.
#include <gtest/gtest.h>

#include <numeric>

#include "core/error.h"
#include "kernels/simt/cuda.h"
#include "kernels/simt/device_array.h"
#include "kernels/simt/every_order.h"

namespace lastbit::simt {
namespace {

__global__ void write_indices(unsigned* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}

TEST(Executor, IndicesCoverGridAndBlock) {
  const auto result = in_every_order("write_indices", [] {
    const DeviceArray<unsigned> out("out", 2 * 3 * 2 * 30);
    launch({"write_indices", dim3{2, 3, 2}, dim3{5, 3, 2}}, write_indices, out.data());
    return out.download();
  });
  for (unsigned i = 0; i < result.size(); ++i) ASSERT_EQ(result[i], i / 30 * 1000 + i % 30);
}

TEST(Executor, ShapesThatNoGpuTakesAreBadInput) {
  const DeviceArray<unsigned> out("out", 1);
  const auto run = [&](dim3 grid, dim3 block, std::size_t bytes) {
    launch({"write_indices", grid, block, bytes}, write_indices, out.data());
  };
  EXPECT_THROW(run(dim3{1}, dim3{1025}, 0), core::Error);
  EXPECT_THROW(run(dim3{0}, dim3{1}, 0), core::Error);
  EXPECT_THROW(run(dim3{1, 70000}, dim3{1}, 0), core::Error);
  EXPECT_THROW(run(dim3{1}, dim3{1}, 228 * 1024), core::Error);
}

// Neighbouring bytes by different threads are no race, whoever reads them as words afterwards.
__global__ void bytes_then_words(unsigned* out) {
  __shared__ unsigned char bytes[64];
  bytes[threadIdx.x] = static_cast<unsigned char>(threadIdx.x);
  __syncthreads();
  if (threadIdx.x < 16) out[threadIdx.x] = reinterpret_cast<const unsigned*>(bytes)[threadIdx.x];
}

TEST(Executor, BytesHaveTheirOwnHistory) {
  const auto result = in_every_order("bytes_then_words", [] {
    const DeviceArray<unsigned> out("out", 16);
    launch({"bytes_then_words", dim3{1}, dim3{64}}, bytes_then_words, out.data());
    return out.download();
  });
  EXPECT_EQ(result[1], 0x07060504U);
}

__global__ void reads_an_output(const float* in, float* out) { out[0] = in[threadIdx.x] + out[1]; }

TEST(Executor, MemoryThatNobodyWroteIsFoundInBuffersToo) {
  const std::vector<float> one(1, 1);
  const DeviceArray<float> in("in", std::span<const float>(one));
  const DeviceArray<float> out("out", 2);
  try {
    launch({"reads_an_output", dim3{1}, dim3{1}}, reads_an_output, in.data(), out.data());
    FAIL();
  } catch (const Finding& finding) {
    EXPECT_EQ(finding.kind(), FindingKind::kUninitialised);
    EXPECT_NE(std::string(finding.what()).find("offset 4 of out"), std::string::npos) << finding.what();
  }
}

__global__ void votes_and_atomics(int* counts, unsigned* ballots) {
  const unsigned even = __ballot_sync(0xffffffffU, threadIdx.x % 2 == 0 ? 1 : 0);
  if (threadIdx.x == 0) ballots[blockIdx.x] = even;
  atomicAdd(&counts[0], 1);
  atomicMax(&counts[1], static_cast<int>(threadIdx.x));
  if (__all_sync(0xffffffffU, threadIdx.x < 64 ? 1 : 0) == 0) atomicOr(&counts[2], 1);
  if (__any_sync(0xffffffffU, threadIdx.x == 40 ? 1 : 0) != 0) atomicOr(&counts[2], 2);
}

TEST(Executor, VotesAndAtomicsOfSeveralBlocks) {
  const auto result = in_every_order("votes_and_atomics", [] {
    const std::vector<int> zeros(3);
    const DeviceArray<int> counts("counts", std::span<const int>(zeros));
    const DeviceArray<unsigned> ballots("ballots", 3);
    launch({"votes_and_atomics", dim3{3}, dim3{64}}, votes_and_atomics, counts.data(), ballots.data());
    for (const unsigned ballot : ballots.download()) EXPECT_EQ(ballot, 0x55555555U);
    return counts.download();
  });
  EXPECT_EQ(result, (std::vector<int>{192, 63, 2}));
}

__global__ void half_waits(float* out) {
  if (threadIdx.x % 2 == 0) __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void all_wait(float* out) {
  __syncthreads();
  out[threadIdx.x] = 1;
}

TEST(Executor, ALaunchAfterOneThatFailedIsSound) {
  const DeviceArray<float> out("out", 96);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(launch({"half_waits", dim3{1}, dim3{96}}, half_waits, out.data()), Finding);
    launch({"all_wait", dim3{1}, dim3{96}}, all_wait, out.data());
  }
  EXPECT_EQ(out.download(), std::vector<float>(96, 1));
}

__global__ void host_memory(const float* in, float* out) { out[0] = in[0]; }

TEST(Executor, PointersOfTheHostAreNoMemoryOfTheDevice) {
  const std::vector<float> on_host(1, 1);
  const DeviceArray<float> out("out", 1);
  try {
    launch({"host_memory", dim3{1}, dim3{1}}, host_memory, on_host.data(), out.data());
    FAIL();
  } catch (const Finding& finding) {
    EXPECT_EQ(finding.kind(), FindingKind::kOutOfBounds);
  }
}

// Three warps hand a token on, a barrier between two of them.
__global__ void chain_of_warps(int* out) {
  __shared__ int token;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < 3; ++i) {
    if (warp == i && lane == 0) token = i == 0 ? 1 : token + 1;
    __syncthreads();
  }
  if (threadIdx.x == 95) out[0] = token;
}

TEST(Executor, AValueGoesFromWarpToWarp) {
  const auto result = in_every_order("chain_of_warps", [] {
    const DeviceArray<int> out("out", 1);
    launch({"chain_of_warps", dim3{1}, dim3{96}}, chain_of_warps, out.data());
    return out.download();
  });
  EXPECT_EQ(result[0], 3);
}

}  // namespace
}  // namespace lastbit::simt
