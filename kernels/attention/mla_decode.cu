#include "kernels/arch/async_copy.h"
#include "kernels/attention/mla.h"
#include "kernels/numbers/bf16.h"
#include "kernels/numbers/fragments.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;

// Key `key` of sequence `sequence`.
__device__ const std::uint16_t* cached_key(const MlaDecode& call, int sequence, int key) {
  const int page = call.block_table[sequence * call.table_width + key / kPageKeys];
  return call.cache +
         (static_cast<std::size_t>(page) * kPageKeys + static_cast<std::size_t>(key % kPageKeys)) * kCacheDim;
}

// v0: one block a sequence and head: a thread scores some keys, all look for the largest, a thread adds some columns.
__global__ void __launch_bounds__(kThreads) decode_v0(MlaDecode call) {
  auto* const scores = reinterpret_cast<float*>(simt::dynamic_shared());
  const int sequence = static_cast<int>(blockIdx.x) / call.heads;
  const int thread = static_cast<int>(threadIdx.x);
  const int length = call.seq_lens[sequence];
  const std::uint16_t* const q = call.q + static_cast<std::size_t>(blockIdx.x) * kCacheDim;
  for (int key = thread; key < length; key += kThreads) {
    const std::uint16_t* const k = cached_key(call, sequence, key);
    float sum = 0;
    for (int i = 0; i < kCacheDim; ++i) sum = __fmaf_rn(bf16_value(q[i]), bf16_value(k[i]), sum);
    scores[key] = sum * call.scale;
  }
  __syncthreads();
  float largest = scores[0];
  for (int key = 1; key < length; ++key) largest = fmaxf(largest, scores[key]);
  float sum = 0;
  for (int key = 0; key < length; ++key) sum += expf(scores[key] - largest);
  for (int col = thread; col < kLatentDim; col += kThreads) {
    float out = 0;
    for (int key = 0; key < length; ++key)
      out = __fmaf_rn(expf(scores[key] - largest), bf16_value(cached_key(call, sequence, key)[col]), out);
    call.out[static_cast<std::size_t>(blockIdx.x) * kLatentDim + static_cast<std::size_t>(col)] =
        bf16_code(__fdiv_rn(out, sum));
  }
  if (thread == 0) call.log_sum_exp[blockIdx.x] = largest + logf(sum);
}

constexpr int kHeads = 16;  // a block: rows of a fragment
constexpr int kWarps = kThreads / 32;
constexpr int kRowStride = kCacheDim + 8;  // of shared memory: rows on different banks
constexpr int kScoreStride = kPageKeys + 4;
constexpr int kWeightStride = kPageKeys + 8;
constexpr int kWarpCols = kLatentDim / kWarps;  // of the result
constexpr int kColTiles = kWarpCols / 8;
constexpr float kMasked = -3.0e38F;
constexpr int kRowThreads = kThreads / kHeads;  // that share a row of scores

struct DecodeShared {
  alignas(16) std::uint16_t page[kPageKeys][kRowStride];
  alignas(16) std::uint16_t q[kHeads][kRowStride];
  alignas(16) std::uint16_t weights[kHeads][kWeightStride];
  float scores[kHeads][kScoreStride];
  float rescale[kHeads];
};

// Queries of 16 heads; of heads that are not there zeros.
__device__ void load_queries(const MlaDecode& call, int sequence, int first_head, DecodeShared& shared) {
  for (int i = static_cast<int>(threadIdx.x); i < kHeads * kCacheDim; i += kThreads) {
    const int head = first_head + i / kCacheDim;
    const std::size_t at =
        static_cast<std::size_t>(sequence * call.heads + head) * kCacheDim + static_cast<std::size_t>(i % kCacheDim);
    shared.q[i / kCacheDim][i % kCacheDim] = head < call.heads ? call.q[at] : std::uint16_t{0};
  }
}

// Keys of one page; behind the sequence's end zeros, whatever the cache has there.
__device__ void load_page(const MlaDecode& call, int sequence, int first_key, int length, DecodeShared& shared) {
  constexpr int kChunks = kCacheDim / 8;  // of 16 bytes
  for (int i = static_cast<int>(threadIdx.x); i < kPageKeys * kChunks; i += kThreads) {
    const int key = i / kChunks;
    const std::uint16_t* const from =
        cached_key(call, sequence, first_key) + static_cast<std::size_t>(key) * kCacheDim + i % kChunks * 8;
    arch::cp_async_16(&shared.page[key][i % kChunks * 8], from, first_key + key < length ? 16 : 0);
  }
  arch::cp_async_commit();
  arch::cp_async_wait<0>();
}

// A warp scores 16 keys for all 16 heads.
__device__ void score_page(const MlaDecode& call, int first_key, int length, DecodeShared& shared) {
  const LanePlace place = lane_place();
  const int warp_key = static_cast<int>(threadIdx.x) / 32 * 16;
  float scores[2][4] = {};
  for (int col = 0; col < kCacheDim; col += kFragmentDepth) {
    unsigned a[4];
    load_a(a, shared.q[0], kRowStride, col);
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
      unsigned b[2];
      load_b_rows(b, shared.page[warp_key + tile * 8], kRowStride, col);
      arch::mma_m16n8k16_bf16(scores[tile], a, b);
    }
  }
#pragma unroll
  for (int tile = 0; tile < 2; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = warp_key + tile * 8 + place.pair + i % 2;
      shared.scores[place.group + i / 2 * 8][key] = first_key + key < length ? scores[tile][i] * call.scale : kMasked;
    }
}

// Of one head, the same in the eight threads that share it.
struct HeadState {
  float largest = kMasked;
  float sum = 0;
};

// Scores become weights in BF16; eight neighbouring threads share a head.
__device__ void weigh_page(DecodeShared& shared, HeadState& state) {
  const int head = static_cast<int>(threadIdx.x) / kRowThreads;
  const int first = static_cast<int>(threadIdx.x) % kRowThreads;
  float largest = state.largest;
  for (int key = first; key < kPageKeys; key += kRowThreads) largest = fmaxf(largest, shared.scores[head][key]);
  for (int lanes = kRowThreads / 2; lanes > 0; lanes /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, lanes));
  float sum = 0;
  for (int key = first; key < kPageKeys; key += kRowThreads) {
    const float weight = expf(shared.scores[head][key] - largest);
    shared.weights[head][key] = bf16_code(weight);
    sum += weight;
  }
  for (int lanes = kRowThreads / 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, lanes);
  const float rescale = expf(state.largest - largest);
  if (first == 0) shared.rescale[head] = rescale;
  state = {largest, state.sum * rescale + sum};
}

// A warp adds 128 columns of the values to its 16 heads' results.
__device__ void add_page(const DecodeShared& shared, float (&out)[kColTiles][4]) {
  const LanePlace place = lane_place();
  const int warp_col = static_cast<int>(threadIdx.x) / 32 * kWarpCols;
  const float rescale[2] = {shared.rescale[place.group], shared.rescale[place.group + 8]};
#pragma unroll
  for (int tile = 0; tile < kColTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) out[tile][i] *= rescale[i / 2];
  for (int key = 0; key < kPageKeys; key += kFragmentDepth) {
    unsigned a[4];
    load_a(a, shared.weights[0], kWeightStride, key);
#pragma unroll
    for (int tile = 0; tile < kColTiles; ++tile) {
      unsigned b[2];
      load_b_cols(b, shared.page[key], kRowStride, warp_col + tile * 8);
      arch::mma_m16n8k16_bf16(out[tile], a, b);
    }
  }
}

// One block 16 heads of a sequence, which share its keys: page after page through shared memory.
__global__ void __launch_bounds__(kThreads) decode_pages(MlaDecode call) {
  DecodeShared& shared = *reinterpret_cast<DecodeShared*>(simt::dynamic_shared());
  const int sequence = static_cast<int>(blockIdx.y);
  const int first_head = static_cast<int>(blockIdx.x) * kHeads;
  const int thread = static_cast<int>(threadIdx.x);
  const int length = call.seq_lens[sequence];
  load_queries(call, sequence, first_head, shared);
  HeadState state;
  float out[kColTiles][4] = {};
  for (int first_key = 0; first_key < length; first_key += kPageKeys) {
    load_page(call, sequence, first_key, length, shared);
    __syncthreads();
    score_page(call, first_key, length, shared);
    __syncthreads();
    weigh_page(shared, state);
    __syncthreads();
    add_page(shared, out);
    __syncthreads();
  }
  // The sums of all heads, to the threads that hold the results: where the factors were.
  const int head = thread / kRowThreads;
  if (thread % kRowThreads == 0) {
    shared.rescale[head] = state.sum;
    if (first_head + head < call.heads)
      call.log_sum_exp[sequence * call.heads + first_head + head] = state.largest + logf(state.sum);
  }
  __syncthreads();
  const LanePlace place = lane_place();
  for (int tile = 0; tile < kColTiles; ++tile)
    for (int i = 0; i < 4; ++i) {
      const int row = place.group + i / 2 * 8;
      const int col = thread / 32 * kWarpCols + tile * 8 + place.pair + i % 2;
      if (first_head + row < call.heads)
        call.out[static_cast<std::size_t>(sequence * call.heads + first_head + row) * kLatentDim +
                 static_cast<std::size_t>(col)] = bf16_code(__fdiv_rn(out[tile][i], shared.rescale[row]));
    }
}

}  // namespace

void mla_decode(const MlaDecode& call, Version version) {
  const auto batch = static_cast<unsigned>(call.batch);
  const auto heads = static_cast<unsigned>(call.heads);
  const dim3 block{kThreads, 1, 1};
  if (version == Version::kObvious)
    simt::launch({"mla_decode", dim3{batch * heads, 1, 1}, block,
                  static_cast<std::size_t>(call.table_width) * kPageKeys * sizeof(float)},
                 decode_v0, call);
  else
    simt::launch({"mla_decode", dim3{(heads + kHeads - 1) / kHeads, batch, 1}, block, sizeof(DecodeShared)},
                 decode_pages, call);
}

}  // namespace lastbit::kernels
