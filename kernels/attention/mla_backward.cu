#include "kernels/attention/mla.h"
#include "kernels/attention/mla_shape.h"
#include "kernels/attention/mla_tiles.h"
#include "kernels/numbers/block_sum.h"

namespace lastbit::kernels {
namespace {

// Of a query and head in arrays [tokens, heads].
__device__ std::size_t place_of_row(const MlaShape& shape, std::size_t token, int head) {
  return token * static_cast<std::size_t>(shape.heads) + static_cast<std::size_t>(head);
}

__device__ float product(float sum, std::uint16_t a, std::uint16_t b) {
  return __fmaf_rn(bf16_value(a), bf16_value(b), sum);
}

// v0: one thread a query and head.
__global__ void dots_v0(MlaBackward call) {
  const MlaShape& shape = call.in.shape;
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= shape.sequences * shape.queries * shape.heads) return;
  const auto token = static_cast<std::size_t>(index / shape.heads);
  const std::uint16_t* const out = head_row(call.out, token, index % shape.heads);
  const std::uint16_t* const dout = head_row(call.dout, token, index % shape.heads);
  float sum = 0;
  for (int i = 0; i < shape.value_dim; ++i) sum = product(sum, dout[i], out[i]);
  call.dots[index] = sum;
}

// What a query and a key have to do with each other: the softmax weight and the gradient of the score.
struct PairGradient {
  float weight;
  float score;
};
__device__ PairGradient pair_gradient(const MlaBackward& call, int head, std::size_t query, std::size_t key) {
  const SplitRows q = query_rows(call.in, head);
  const SplitRows k = key_rows(call.in, head);
  const std::uint16_t* const v = head_row(call.in.v, key, head);
  const std::uint16_t* const dout = head_row(call.dout, query, head);
  float score = 0;
  float dweight = 0;
  for (int i = 0; i < q.width; ++i) score = product(score, q.at(query, i), k.at(key, i));
  for (int i = 0; i < call.in.shape.value_dim; ++i) dweight = product(dweight, dout[i], v[i]);
  const std::size_t row = place_of_row(call.in.shape, query, head);
  const float weight = expf(score * call.in.shape.scale - call.log_sum_exp[row]);
  return {weight, weight * (dweight - call.dots[row]) * call.in.shape.scale};
}

// v0: one thread a query and head, kMostQueryDim columns of dq at a time.
__global__ void queries_v0(MlaBackward call) {
  const MlaShape& shape = call.in.shape;
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= shape.sequences * shape.queries * shape.heads) return;
  const int token = index / shape.heads;
  const int head = index % shape.heads;
  const SplitRows keys = key_rows(call.in, head);
  const int end = key_end(shape, token % shape.queries);
  for (int first = 0; first < keys.width; first += kMostQueryDim) {
    const int width = min(kMostQueryDim, keys.width - first);
    float sums[kMostQueryDim] = {};
    for (int j = 0; j < end; ++j) {
      const std::size_t key = token_of(token / shape.queries, shape.keys, j);
      const float slope = pair_gradient(call, head, static_cast<std::size_t>(token), key).score;
      for (int i = 0; i < width; ++i) sums[i] = __fmaf_rn(slope, bf16_value(keys.at(key, first + i)), sums[i]);
    }
    float* const dq = head_row(call.dq, static_cast<std::size_t>(token), head) + first;
    for (int i = 0; i < width; ++i) dq[i] = sums[i];
  }
}

// Where element i of the gradient of a key goes.
__device__ float* dk_element(const MlaBackward& call, std::size_t key, int head, int i) {
  const int nope = call.in.shape.nope_dim;
  return i < nope ? head_row(call.dk_nope, key, head) + i : head_row(call.dk_rope, key, head) + (i - nope);
}

// v0: one thread a key and head, kMostQueryDim columns of dk and as many of dv at a time.
__global__ void keys_v0(MlaBackward call) {
  const MlaShape& shape = call.in.shape;
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= shape.sequences * shape.keys * shape.heads) return;
  const auto key = static_cast<std::size_t>(index / shape.heads);
  const int head = index % shape.heads;
  const int sequence = index / shape.heads / shape.keys;
  const SplitRows queries = query_rows(call.in, head);
  const int width = max(queries.width, shape.value_dim);
  for (int first = 0; first < width; first += kMostQueryDim) {
    float dk[kMostQueryDim] = {};
    float dv[kMostQueryDim] = {};
    for (int i = query_begin(shape, index / shape.heads % shape.keys); i < shape.queries; ++i) {
      const std::size_t query = token_of(sequence, shape.queries, i);
      const PairGradient pair = pair_gradient(call, head, query, key);
      const std::uint16_t* const dout = head_row(call.dout, query, head);
      for (int j = first; j < min(first + kMostQueryDim, queries.width); ++j)
        dk[j - first] = __fmaf_rn(pair.score, bf16_value(queries.at(query, j)), dk[j - first]);
      for (int j = first; j < min(first + kMostQueryDim, shape.value_dim); ++j)
        dv[j - first] = __fmaf_rn(pair.weight, bf16_value(dout[j]), dv[j - first]);
    }
    for (int j = first; j < min(first + kMostQueryDim, queries.width); ++j)
      *dk_element(call, key, head, j) = dk[j - first];
    for (int j = first; j < min(first + kMostQueryDim, shape.value_dim); ++j)
      head_row(call.dv, key, head)[j] = dv[j - first];
  }
}

// A warp a query and head.
__global__ void __launch_bounds__(kMlaThreads) dots_warps(MlaBackward call) {
  const MlaShape& shape = call.in.shape;
  const int index = static_cast<int>(blockIdx.x) * kMlaWarps + static_cast<int>(threadIdx.x) / 32;
  if (index >= shape.sequences * shape.queries * shape.heads) return;  // the whole warp
  const auto token = static_cast<std::size_t>(index / shape.heads);
  const std::uint16_t* const out = head_row(call.out, token, index % shape.heads);
  const std::uint16_t* const dout = head_row(call.dout, token, index % shape.heads);
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x) % 32; i < shape.value_dim; i += 32) sum = product(sum, dout[i], out[i]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) call.dots[index] = sum;
}

// Scores to gradients of scores, for one element of a tile; `met`: the query meets the key.
__device__ PairGradient differentiate(float score, float dweight, float log_sum_exp, float dot, float scale, bool met) {
  const float weight = met ? expf(score * scale - log_sum_exp) : 0;
  return {weight, met ? weight * (dweight - dot) * scale : 0};
}

// What the queries' side has of each of its two rows: log_sum_exp and D.
struct RowNumbers {
  float log_sum_exp[2];
  float dots[2];
};
__device__ RowNumbers load_numbers(const MlaBackward& call, int sequence, int head, int first_query) {
  const MlaShape& shape = call.in.shape;
  RowNumbers numbers = {};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = first_query + lane_place().group + half * 8;
    if (query >= shape.queries) continue;
    const std::size_t row = place_of_row(shape, token_of(sequence, shape.queries, query), head);
    numbers.log_sum_exp[half] = call.log_sum_exp[row];
    numbers.dots[half] = call.dots[row];
  }
  return numbers;
}

// Gradients of weights become gradients of scores.
__device__ void slope_tile(const MlaShape& shape, int first_query, int first_key, const TileProducts& scores,
                           const RowNumbers& numbers, TileProducts& slopes) {
  const LanePlace place = lane_place();
#pragma unroll
  for (int tile = 0; tile < kOtherTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int query = first_query + place.group + i / 2 * 8;
      const bool met = query < shape.queries && first_key + tile * 8 + place.pair + i % 2 < key_end(shape, query);
      slopes[tile][i] = differentiate(scores[tile][i], slopes[tile][i], numbers.log_sum_exp[i / 2], numbers.dots[i / 2],
                                      shape.scale, met)
                            .score;
    }
}

__device__ void store_queries(const MlaBackward& call, int sequence, int head, int first_query,
                              const float (&sums)[kMostQueryDim / 8][4]) {
  const MlaShape& shape = call.in.shape;
  const LanePlace place = lane_place();
#pragma unroll
  for (int tile = 0; tile < kMostQueryDim / 8; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int query = first_query + place.group + i / 2 * 8;
      const int col = tile * 8 + place.pair + i % 2;
      if (query < shape.queries && col < query_dim(shape))
        head_row(call.dq, token_of(sequence, shape.queries, query), head)[col] = sums[tile][i];
    }
}

// The queries' side: a warp has 16 queries in registers and meets tiles of 32 keys.
__global__ void __launch_bounds__(kMlaThreads) queries_tiles(MlaBackward call) {
  alignas(16) __shared__ std::uint16_t keys[kTileOthers * kQueryStride];
  alignas(16) __shared__ std::uint16_t values[kTileOthers * kValueStride];
  const MlaShape& shape = call.in.shape;
  const int head = static_cast<int>(blockIdx.y);
  const int sequence = static_cast<int>(blockIdx.z);
  const int block_query = static_cast<int>(blockIdx.x) * kTileRows;
  const int first_query = block_query + static_cast<int>(threadIdx.x) / 32 * kWarpRows;
  unsigned q[kQuerySteps][4];
  unsigned dout[kValueSteps][4];
  load_fragments(q, query_rows(call.in, head), sequence, shape.queries, first_query);
  load_fragments(dout, whole_rows(call.dout, shape.value_dim, head), sequence, shape.queries, first_query);
  const RowNumbers numbers = load_numbers(call, sequence, head, first_query);
  float sums[kMostQueryDim / 8][4] = {};
  const int end = key_end(shape, min(block_query + kTileRows, shape.queries) - 1);
  for (int first = 0; first < end; first += kTileOthers) {
    load_rows(keys, kQueryStride, key_rows(call.in, head), sequence, shape.keys, first, kTileOthers);
    load_rows(values, kValueStride, value_rows(call.in, head), sequence, shape.keys, first, kTileOthers);
    __syncthreads();
    if (first_query < shape.queries) {  // the warp
      TileProducts scores = {};
      TileProducts slopes = {};
      multiply_rows(scores, q, keys, kQueryStride, query_dim(shape));
      multiply_rows(slopes, dout, values, kValueStride, shape.value_dim);
      slope_tile(shape, first_query, first, scores, numbers, slopes);
      add_weighted_rows(sums, slopes, keys, kQueryStride, query_dim(shape));
    }
    __syncthreads();
  }
  store_queries(call, sequence, head, first_query, sums);
}

// What the keys' side has in shared memory: its own 64 keys and values, and 32 queries and gradients of outputs.
struct KeyTiles {
  std::uint16_t keys[kTileRows * kQueryStride];
  std::uint16_t values[kTileRows * kValueStride];
  std::uint16_t queries[kTileOthers * kQueryStride];
  std::uint16_t dout[kTileOthers * kValueStride];
  float log_sum_exp[kTileOthers];
  float dots[kTileOthers];
};

__device__ void load_queries(const MlaBackward& call, int sequence, int head, int first, KeyTiles& tiles) {
  const MlaShape& shape = call.in.shape;
  const SplitRows dout = whole_rows(call.dout, shape.value_dim, head);
  load_rows(tiles.queries, kQueryStride, query_rows(call.in, head), sequence, shape.queries, first, kTileOthers);
  load_rows(tiles.dout, kValueStride, dout, sequence, shape.queries, first, kTileOthers);
  const int i = static_cast<int>(threadIdx.x);
  if (i >= kTileOthers) return;
  const bool inside = first + i < shape.queries;
  const std::size_t row = place_of_row(shape, token_of(sequence, shape.queries, first + i), head);
  tiles.log_sum_exp[i] = inside ? call.log_sum_exp[row] : 0;
  tiles.dots[i] = inside ? call.dots[row] : 0;
}

// products [16, 32] += rows [16, width] others [32, width]^T, both in shared memory.
template <int kSteps>
__device__ void multiply_shared(TileProducts& products, const std::uint16_t* rows, const std::uint16_t* others,
                                int stride, int width) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    if (step * kFragmentDepth >= width) continue;
    unsigned a[4];
    load_a(a, rows, stride, step * kFragmentDepth);
#pragma unroll
    for (int other = 0; other < kOtherTiles; ++other) {
      unsigned b[2];
      load_b_rows(b, others + other * 8 * stride, stride, step * kFragmentDepth);
      arch::mma_m16n8k16_bf16(products[other], a, b);
    }
  }
}

struct KeySums {
  float dk[kMostQueryDim / 8][4];
  float dv[kMostValueDim / 8][4];
};

// A warp's 16 keys, the first of them `first_key`, and 32 queries from `first_query` on.
__device__ void meet_queries(const MlaShape& shape, int first_key, int first_query, const KeyTiles& tiles,
                             KeySums& sums) {
  const LanePlace place = lane_place();
  const int own = static_cast<int>(threadIdx.x) / 32 * kWarpRows;
  TileProducts weights = {};
  TileProducts slopes = {};
  multiply_shared<kQuerySteps>(weights, tiles.keys + own * kQueryStride, tiles.queries, kQueryStride, query_dim(shape));
  multiply_shared<kValueSteps>(slopes, tiles.values + own * kValueStride, tiles.dout, kValueStride, shape.value_dim);
#pragma unroll
  for (int tile = 0; tile < kOtherTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = first_key + place.group + i / 2 * 8;
      const int other = tile * 8 + place.pair + i % 2;
      const int query = first_query + other;
      const PairGradient pair =
          differentiate(weights[tile][i], slopes[tile][i], tiles.log_sum_exp[other], tiles.dots[other], shape.scale,
                        query < shape.queries && key < key_end(shape, query));
      weights[tile][i] = pair.weight;
      slopes[tile][i] = pair.score;
    }
  add_weighted_rows(sums.dv, weights, tiles.dout, kValueStride, shape.value_dim);
  add_weighted_rows(sums.dk, slopes, tiles.queries, kQueryStride, query_dim(shape));
}

__device__ void store_keys(const MlaBackward& call, int sequence, int head, int first_key, const KeySums& sums) {
  const MlaShape& shape = call.in.shape;
  const LanePlace place = lane_place();
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int key = first_key + place.group + i / 2 * 8;
    if (key >= shape.keys) continue;
    const std::size_t token = token_of(sequence, shape.keys, key);
#pragma unroll
    for (int tile = 0; tile < kMostQueryDim / 8; ++tile) {
      const int col = tile * 8 + place.pair + i % 2;
      if (col < query_dim(shape)) *dk_element(call, token, head, col) = sums.dk[tile][i];
    }
#pragma unroll
    for (int tile = 0; tile < kMostValueDim / 8; ++tile) {
      const int col = tile * 8 + place.pair + i % 2;
      if (col < shape.value_dim) head_row(call.dv, token, head)[col] = sums.dv[tile][i];
    }
  }
}

// The keys' side: a warp sums the gradients of 16 keys in registers over tiles of 32 queries.
__global__ void __launch_bounds__(kMlaThreads) keys_tiles(MlaBackward call) {
  KeyTiles& tiles = *reinterpret_cast<KeyTiles*>(simt::dynamic_shared());
  const MlaShape& shape = call.in.shape;
  const int head = static_cast<int>(blockIdx.y);
  const int sequence = static_cast<int>(blockIdx.z);
  const int block_key = static_cast<int>(blockIdx.x) * kTileRows;
  const int first_key = block_key + static_cast<int>(threadIdx.x) / 32 * kWarpRows;
  load_rows(tiles.keys, kQueryStride, key_rows(call.in, head), sequence, shape.keys, block_key, kTileRows);
  load_rows(tiles.values, kValueStride, value_rows(call.in, head), sequence, shape.keys, block_key, kTileRows);
  KeySums sums = {};
  for (int first = query_begin(shape, block_key); first < shape.queries; first += kTileOthers) {
    load_queries(call, sequence, head, first, tiles);
    __syncthreads();
    if (first_key < shape.keys) meet_queries(shape, first_key, first, tiles, sums);
    __syncthreads();
  }
  store_keys(call, sequence, head, first_key, sums);
}

// v0: one thread an element.
__global__ void sum_heads_v0(const float* x, int tokens, int heads, int d, float* y) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= tokens * d) return;
  const float* const first = x + static_cast<std::size_t>(index / d) * static_cast<std::size_t>(heads * d) + index % d;
  float sum = 0;
  for (int h = 0; h < heads; ++h) sum += first[h * d];
  y[index] = sum;
}

// Four elements a thread.
__global__ void sum_heads_vectors(const float* x, int tokens, int heads, int d, float* y) {
  const int quads = d / 4;
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= tokens * quads) return;
  const float4* const first = reinterpret_cast<const float4*>(x) +
                              static_cast<std::size_t>(index / quads) * static_cast<std::size_t>(heads * quads) +
                              index % quads;
  float4 sum{0, 0, 0, 0};
  for (int h = 0; h < heads; ++h) {
    const float4 one = first[h * quads];
    sum = float4{sum.x + one.x, sum.y + one.y, sum.z + one.z, sum.w + one.w};
  }
  reinterpret_cast<float4*>(y)[index] = sum;
}

dim3 grid_of(int threads, int block) { return dim3{static_cast<unsigned>((threads + block - 1) / block), 1, 1}; }

}  // namespace

void mla_backward(const MlaBackward& call, Version version) {
  const MlaShape& shape = call.in.shape;
  const int queries = shape.sequences * shape.queries * shape.heads;
  const int keys = shape.sequences * shape.keys * shape.heads;
  const dim3 warp{32, 1, 1};
  if (version == Version::kObvious) {
    simt::launch({"mla_backward_dots", grid_of(queries, 32), warp}, dots_v0, call);
    simt::launch({"mla_backward_queries", grid_of(queries, 32), warp}, queries_v0, call);
    simt::launch({"mla_backward_keys", grid_of(keys, 32), warp}, keys_v0, call);
    return;
  }
  require_tile_dims("mla_backward", shape.nope_dim + shape.rope_dim, shape.value_dim);
  const dim3 block{kMlaThreads, 1, 1};
  const auto tiles = [&](int rows) {
    return dim3{static_cast<unsigned>((rows + kTileRows - 1) / kTileRows), static_cast<unsigned>(shape.heads),
                static_cast<unsigned>(shape.sequences)};
  };
  simt::launch({"mla_backward_dots", grid_of(queries, kMlaWarps), block}, dots_warps, call);
  simt::launch({"mla_backward_queries", tiles(shape.queries), block}, queries_tiles, call);
  simt::launch({"mla_backward_keys", tiles(shape.keys), block, sizeof(KeyTiles)}, keys_tiles, call);
}

void sum_heads(const float* x, int tokens, int heads, int d, float* y, Version version) {
  constexpr int kThreads = 128;
  const bool vectors = version == Version::kTuned && d % 4 == 0;
  simt::launch({"sum_heads", grid_of(tokens * (vectors ? d / 4 : d), kThreads), dim3{kThreads, 1, 1}},
               vectors ? sum_heads_vectors : sum_heads_v0, x, tokens, heads, d, y);
}

}  // namespace lastbit::kernels
