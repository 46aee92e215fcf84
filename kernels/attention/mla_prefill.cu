#include "kernels/numbers/fragments.h"
#include "kernels/attention/mla.h"
#include "kernels/numbers/bf16.h"

namespace lastbit::kernels {
namespace {

__device__ int key_end(const MlaPrefill& call, int query) {
  return call.causal ? min(call.keys, call.keys - call.queries + query + 1) : call.keys;
}

__device__ std::size_t element(int row, int head, int heads, int dim) {
  return (static_cast<std::size_t>(row) * static_cast<std::size_t>(heads) + static_cast<std::size_t>(head)) *
         static_cast<std::size_t>(dim);
}

__device__ float score(const MlaPrefill& call, int query, int key, int head) {
  const std::uint16_t* const q = call.q + element(query, head, call.heads, kQueryDim);
  const std::uint16_t* const k = call.k + element(key, head, call.heads, kQueryDim);
  float sum = 0;
  for (int i = 0; i < kQueryDim; ++i) sum = __fmaf_rn(bf16_value(q[i]), bf16_value(k[i]), sum);
  return sum * call.scale;
}

// v0: one thread a query and head.
__global__ void prefill_v0(MlaPrefill call) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= call.queries * call.heads) return;
  const int query = index / call.heads;
  const int head = index % call.heads;
  const int end = key_end(call, query);
  float largest = score(call, query, 0, head);
  for (int key = 1; key < end; ++key) largest = fmaxf(largest, score(call, query, key, head));
  float sum = 0;
  float out[kValueDim] = {};
  for (int key = 0; key < end; ++key) {
    const float weight = expf(score(call, query, key, head) - largest);
    sum += weight;
    const std::uint16_t* const v = call.v + element(key, head, call.heads, kValueDim);
    for (int i = 0; i < kValueDim; ++i) out[i] = __fmaf_rn(weight, bf16_value(v[i]), out[i]);
  }
  for (int i = 0; i < kValueDim; ++i)
    call.out[element(query, head, call.heads, kValueDim) + static_cast<std::size_t>(i)] =
        bf16_code(__fdiv_rn(out[i], sum));
  call.log_sum_exp[index] = largest + logf(sum);
}

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kTileQueries = 16 * kWarps;  // a block, 16 a warp
constexpr int kTileKeys = 32;
constexpr int kKeyTiles = kTileKeys / 8;
constexpr int kKeyStride = kQueryDim + 8;  // of shared memory: rows on different banks
constexpr int kValueStride = kValueDim + 8;
constexpr float kMasked = -3.0e38F;

// What a warp keeps for its 16 queries; of each pair the first is of row g, the second of row g + 8.
struct WarpState {
  float out[kValueDim / 8][4];
  float largest[2];
  float sum[2];
};

// Rows of K and V of a tile; those behind the last key are zeros.
__device__ void load_tile(const MlaPrefill& call, int head, int first, std::uint16_t (&keys)[kTileKeys][kKeyStride],
                          std::uint16_t (&values)[kTileKeys][kValueStride]) {
  for (int i = static_cast<int>(threadIdx.x); i < kTileKeys * kQueryDim; i += kThreads) {
    const int key = first + i / kQueryDim;
    const std::size_t at = element(key, head, call.heads, kQueryDim) + static_cast<std::size_t>(i % kQueryDim);
    keys[i / kQueryDim][i % kQueryDim] = key < call.keys ? call.k[at] : std::uint16_t{0};
  }
  for (int i = static_cast<int>(threadIdx.x); i < kTileKeys * kValueDim; i += kThreads) {
    const int key = first + i / kValueDim;
    const std::size_t at = element(key, head, call.heads, kValueDim) + static_cast<std::size_t>(i % kValueDim);
    values[i / kValueDim][i % kValueDim] = key < call.keys ? call.v[at] : std::uint16_t{0};
  }
}

// scores [16, 32] of the warp's queries and the tile's keys, scaled and masked.
__device__ void score_tile(const MlaPrefill& call, const unsigned (&q)[kQueryDim / kFragmentDepth][4],
                           const std::uint16_t (&keys)[kTileKeys][kKeyStride], int first_query, int first_key,
                           float (&scores)[kKeyTiles][4]) {
  const LanePlace place = lane_place();
#pragma unroll
  for (int tile = 0; tile < kKeyTiles; ++tile) {
    for (float& value : scores[tile]) value = 0;
#pragma unroll
    for (int step = 0; step < kQueryDim / kFragmentDepth; ++step) {
      unsigned b[2];
      load_b_rows(b, keys[tile * 8], kKeyStride, step * kFragmentDepth);
      arch::mma_m16n8k16_bf16(scores[tile], q[step], b);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int query = first_query + place.group + i / 2 * 8;
      const int key = first_key + tile * 8 + place.pair + i % 2;
      scores[tile][i] = key < key_end(call, query) ? scores[tile][i] * call.scale : kMasked;
    }
  }
}

// Scores become weights; what was added up before is scaled to the new maximum. The first tile has a key of every
// query's, so the maximum is a score from there on.
__device__ void weigh_tile(float (&scores)[kKeyTiles][4], WarpState& state) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = kMasked;
    for (auto& tile : scores) largest = fmaxf(largest, fmaxf(tile[2 * half], tile[2 * half + 1]));
    largest = fmaxf(state.largest[half], row_max(largest));
    const float rescale = expf(state.largest[half] - largest);
    state.largest[half] = largest;
    float sum = 0;
    for (auto& tile : scores)
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        tile[i] = expf(tile[i] - largest);
        sum += tile[i];
      }
    state.sum[half] = state.sum[half] * rescale + row_sum(sum);
    for (auto& tile : state.out) {
      tile[2 * half] *= rescale;
      tile[2 * half + 1] *= rescale;
    }
  }
}

__device__ void add_values(const float (&weights)[kKeyTiles][4], const std::uint16_t (&values)[kTileKeys][kValueStride],
                           WarpState& state) {
#pragma unroll
  for (int step = 0; step < kTileKeys / kFragmentDepth; ++step) {
    const float(&low)[4] = weights[2 * step];
    const float(&high)[4] = weights[2 * step + 1];
    const unsigned a[4] = {
        pack_pair(bf16_code(low[0]), bf16_code(low[1])), pack_pair(bf16_code(low[2]), bf16_code(low[3])),
        pack_pair(bf16_code(high[0]), bf16_code(high[1])), pack_pair(bf16_code(high[2]), bf16_code(high[3]))};
#pragma unroll
    for (int tile = 0; tile < kValueDim / 8; ++tile) {
      unsigned b[2];
      load_b_cols(b, values[step * kFragmentDepth], kValueStride, tile * 8);
      arch::mma_m16n8k16_bf16(state.out[tile], a, b);
    }
  }
}

__device__ void store_warp(const MlaPrefill& call, int head, int first_query, const WarpState& state) {
  const LanePlace place = lane_place();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = first_query + place.group + half * 8;
    if (query >= call.queries) continue;
    std::uint16_t* const out = call.out + element(query, head, call.heads, kValueDim);
    for (int tile = 0; tile < kValueDim / 8; ++tile)
      for (int i = 0; i < 2; ++i)
        out[tile * 8 + place.pair + i] = bf16_code(__fdiv_rn(state.out[tile][2 * half + i], state.sum[half]));
    if (place.pair == 0) call.log_sum_exp[query * call.heads + head] = state.largest[half] + logf(state.sum[half]);
  }
}

// FlashAttention-2's order: a warp has 16 queries of one head in registers and meets tiles of 32 keys.
__global__ void __launch_bounds__(kThreads) prefill_tiles(MlaPrefill call) {
  alignas(16) __shared__ std::uint16_t keys[kTileKeys][kKeyStride];
  alignas(16) __shared__ std::uint16_t values[kTileKeys][kValueStride];
  const int head = static_cast<int>(blockIdx.y);
  const int block_query = static_cast<int>(blockIdx.x) * kTileQueries;
  const int first_query = block_query + static_cast<int>(threadIdx.x) / 32 * 16;
  const LanePlace place = lane_place();
  unsigned q[kQueryDim / kFragmentDepth][4];
#pragma unroll
  for (int step = 0; step < kQueryDim / kFragmentDepth; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int query = first_query + place.group + i % 2 * 8;
      const int col = step * kFragmentDepth + place.pair + i / 2 * 8;
      q[step][i] = query < call.queries ? load_pair(call.q + element(query, head, call.heads, kQueryDim) + col) : 0;
    }
  WarpState state = {};
  state.largest[0] = state.largest[1] = kMasked;
  const int end = key_end(call, min(block_query + kTileQueries, call.queries) - 1);
  for (int first = 0; first < end; first += kTileKeys) {
    load_tile(call, head, first, keys, values);
    __syncthreads();
    float scores[kKeyTiles][4];
    score_tile(call, q, keys, first_query, first, scores);
    weigh_tile(scores, state);
    add_values(scores, values, state);
    __syncthreads();
  }
  store_warp(call, head, first_query, state);
}

}  // namespace

void mla_prefill(const MlaPrefill& call, Version version) {
  const auto queries = static_cast<unsigned>(call.queries);
  const auto heads = static_cast<unsigned>(call.heads);
  if (version == Version::kObvious)
    simt::launch({"mla_prefill", dim3{(queries * heads + 31) / 32, 1, 1}, dim3{32, 1, 1}}, prefill_v0, call);
  else
    simt::launch({"mla_prefill", dim3{(queries + kTileQueries - 1) / kTileQueries, heads, 1}, dim3{kThreads, 1, 1}},
                 prefill_tiles, call);
}

}  // namespace lastbit::kernels
