#include "kernels/attention/mla.h"
#include "kernels/attention/mla_shape.h"
#include "kernels/attention/mla_tiles.h"

namespace lastbit::kernels {
namespace {

__device__ float score(const MlaOperands& in, int head, std::size_t query, std::size_t key) {
  const SplitRows q = query_rows(in, head);
  const SplitRows k = key_rows(in, head);
  float sum = 0;
  for (int i = 0; i < q.width; ++i) sum = __fmaf_rn(bf16_value(q.at(query, i)), bf16_value(k.at(key, i)), sum);
  return sum * in.shape.scale;
}

// v0: one thread a query and head, which weighs the values of kMostValueDim columns at a time.
__global__ void prefill_v0(MlaPrefill call) {
  const MlaShape& shape = call.in.shape;
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= shape.sequences * shape.queries * shape.heads) return;
  const int token = index / shape.heads;
  const int head = index % shape.heads;
  const int end = key_end(shape, token % shape.queries);
  const SplitRows values = value_rows(call.in, head);
  const auto query = static_cast<std::size_t>(token);
  const std::size_t first_key = token_of(token / shape.queries, shape.keys, 0);
  float largest = score(call.in, head, query, first_key);
  for (int key = 1; key < end; ++key)
    largest = fmaxf(largest, score(call.in, head, query, first_key + static_cast<std::size_t>(key)));
  float sum = 0;
  for (int first = 0; first < shape.value_dim; first += kMostValueDim) {
    const int width = min(kMostValueDim, shape.value_dim - first);
    float out[kMostValueDim] = {};
    sum = 0;
    for (int j = 0; j < end; ++j) {
      const std::size_t key = first_key + static_cast<std::size_t>(j);
      const float weight = expf(score(call.in, head, query, key) - largest);
      sum += weight;
      for (int i = 0; i < width; ++i) out[i] = __fmaf_rn(weight, bf16_value(values.at(key, first + i)), out[i]);
    }
    for (int i = 0; i < width; ++i) head_row(call.out, query, head)[first + i] = bf16_code(__fdiv_rn(out[i], sum));
  }
  call.log_sum_exp[index] = largest + logf(sum);
}

constexpr float kMasked = -3.0e38F;

// What a warp keeps for its 16 queries; of each pair the first is of row g, the second of row g + 8.
struct WarpState {
  float out[kMostValueDim / 8][4];
  float largest[2];
  float sum[2];
};

__device__ void mask_scores(const MlaShape& shape, int first_query, int first_key, TileProducts& scores) {
  const LanePlace place = lane_place();
#pragma unroll
  for (int tile = 0; tile < kOtherTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int query = first_query + place.group + i / 2 * 8;
      const int key = first_key + tile * 8 + place.pair + i % 2;
      scores[tile][i] = key < key_end(shape, query) ? scores[tile][i] * shape.scale : kMasked;
    }
}

// Scores become weights; what was added up before is scaled to the new maximum. The first tile has a key of every
// query's, so the maximum is a score from there on.
__device__ void weigh_tile(TileProducts& scores, WarpState& state) {
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

__device__ void store_warp(const MlaPrefill& call, int sequence, int head, int first_query, const WarpState& state) {
  const MlaShape& shape = call.in.shape;
  const LanePlace place = lane_place();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = first_query + place.group + half * 8;
    if (query >= shape.queries) continue;
    const std::size_t token = token_of(sequence, shape.queries, query);
    std::uint16_t* const out = head_row(call.out, token, head);
#pragma unroll
    for (int tile = 0; tile < kMostValueDim / 8; ++tile)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int col = tile * 8 + place.pair + i;
        if (col < shape.value_dim) out[col] = bf16_code(__fdiv_rn(state.out[tile][2 * half + i], state.sum[half]));
      }
    if (place.pair == 0)
      call.log_sum_exp[token * static_cast<std::size_t>(shape.heads) + static_cast<std::size_t>(head)] =
          state.largest[half] + logf(state.sum[half]);
  }
}

// FlashAttention-2's order: a warp has 16 queries of one head in registers and meets tiles of 32 keys.
__global__ void __launch_bounds__(kMlaThreads) prefill_tiles(MlaPrefill call) {
  alignas(16) __shared__ std::uint16_t keys[kTileOthers * kQueryStride];
  alignas(16) __shared__ std::uint16_t values[kTileOthers * kValueStride];
  const MlaShape& shape = call.in.shape;
  const int head = static_cast<int>(blockIdx.y);
  const int sequence = static_cast<int>(blockIdx.z);
  const int block_query = static_cast<int>(blockIdx.x) * kTileRows;
  const int first_query = block_query + static_cast<int>(threadIdx.x) / 32 * kWarpRows;
  const bool active = first_query < shape.queries;  // the warp
  unsigned q[kQuerySteps][4];
  load_fragments(q, query_rows(call.in, head), sequence, shape.queries, first_query);
  WarpState state = {};
  state.largest[0] = state.largest[1] = kMasked;
  const int end = key_end(shape, min(block_query + kTileRows, shape.queries) - 1);
  for (int first = 0; first < end; first += kTileOthers) {
    load_rows(keys, kQueryStride, key_rows(call.in, head), sequence, shape.keys, first, kTileOthers);
    load_rows(values, kValueStride, value_rows(call.in, head), sequence, shape.keys, first, kTileOthers);
    __syncthreads();
    if (active) {
      TileProducts scores = {};
      multiply_rows(scores, q, keys, kQueryStride, query_dim(shape));
      mask_scores(shape, first_query, first, scores);
      weigh_tile(scores, state);
      add_weighted_rows(state.out, scores, values, kValueStride, shape.value_dim);
    }
    __syncthreads();
  }
  if (active) store_warp(call, sequence, head, first_query, state);
}

}  // namespace

void mla_prefill(const MlaPrefill& call, Version version) {
  const MlaShape& shape = call.in.shape;
  const auto queries = static_cast<unsigned>(shape.queries);
  const auto heads = static_cast<unsigned>(shape.heads);
  const auto sequences = static_cast<unsigned>(shape.sequences);
  if (version == Version::kObvious) {
    simt::launch({"mla_prefill", dim3{(sequences * queries * heads + 31) / 32, 1, 1}, dim3{32, 1, 1}}, prefill_v0,
                 call);
    return;
  }
  require_tile_dims("mla_prefill", shape.nope_dim + shape.rope_dim, shape.value_dim);
  simt::launch({"mla_prefill", dim3{(queries + kTileRows - 1) / kTileRows, heads, sequences}, dim3{kMlaThreads, 1, 1}},
               prefill_tiles, call);
}

}  // namespace lastbit::kernels
