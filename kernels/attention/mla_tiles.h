// What the tuned kernels of latent attention share: rows of heads by way of shared memory to mma.sync. A warp has 16
// rows (queries, or keys where the gradients of keys are summed) and meets tiles of kTileOthers of the others.
#pragma once

#include "kernels/attention/mla.h"
#include "kernels/numbers/bf16.h"
#include "kernels/numbers/fragments.h"

namespace lastbit::kernels {

constexpr int kMlaWarps = 4;
constexpr int kMlaThreads = 32 * kMlaWarps;
constexpr int kWarpRows = 16;
constexpr int kTileRows = kWarpRows * kMlaWarps;
constexpr int kTileOthers = 32;
constexpr int kOtherTiles = kTileOthers / 8;
constexpr int kQuerySteps = kMostQueryDim / kFragmentDepth;
constexpr int kValueSteps = kMostValueDim / kFragmentDepth;
constexpr int kQueryStride = kMostQueryDim + 8;  // of shared memory: rows on different banks
constexpr int kValueStride = kMostValueDim + 8;

// Rows of heads that lie in two parts, columns [0, split) and [split, width).
struct SplitRows {
  HeadCodes first;
  HeadCodes second;
  int split;
  int width;
  int head;

  // Where element `col` of a token lies.
  __device__ const std::uint16_t* place(std::size_t token, int col) const {
    const HeadCodes& part = col < split ? first : second;
    return part.data + token * static_cast<std::size_t>(part.token_stride) +
           static_cast<std::size_t>(head * part.head_stride + (col < split ? col : col - split));
  }
  // Element `col` of a token, 0 behind the width.
  __device__ std::uint16_t at(std::size_t token, int col) const { return col < width ? *place(token, col) : 0; }
  // Elements [col, col + 8), zeros behind the width.
  __device__ uint4 eight(std::size_t token, int col) const {
    if (col >= split || col + kEight <= split) return load_eight(place(token, col), width - col);
    std::uint16_t codes[kEight];
#pragma unroll
    for (int i = 0; i < kEight; ++i) codes[i] = at(token, col + i);
    return pack_eight(codes);
  }
};
__device__ inline SplitRows whole_rows(const HeadCodes& rows, int width, int head) {
  return {rows, rows, width, width, head};
}
__device__ inline int query_dim(const MlaShape& shape) { return shape.nope_dim + shape.rope_dim; }
__device__ inline SplitRows query_rows(const MlaOperands& in, int head) {
  return whole_rows(in.q, query_dim(in.shape), head);
}
__device__ inline SplitRows key_rows(const MlaOperands& in, int head) {
  return {in.k_nope, in.k_rope, in.shape.nope_dim, query_dim(in.shape), head};
}
__device__ inline SplitRows value_rows(const MlaOperands& in, int head) {
  return whole_rows(in.v, in.shape.value_dim, head);
}

__device__ inline std::size_t token_of(int sequence, int length, int i) {
  return static_cast<std::size_t>(sequence) * static_cast<std::size_t>(length) + static_cast<std::size_t>(i);
}
template <typename T>
__device__ T* head_row(const HeadRows<T>& rows, std::size_t token, int head) {
  return rows.data + token * static_cast<std::size_t>(rows.token_stride) +
         static_cast<std::size_t>(head * rows.head_stride);
}

// The keys that a query meets are those before this one.
__device__ inline int key_end(const MlaShape& shape, int query) {
  return shape.causal ? min(shape.keys, shape.keys - shape.queries + query + 1) : shape.keys;
}
// The first query that meets a key.
__device__ inline int query_begin(const MlaShape& shape, int key) {
  return shape.causal ? max(0, key - (shape.keys - shape.queries)) : 0;
}

// tile_rows rows from row `first` of a sequence of `length` on, as wide as whole steps of mma.sync; what is not there
// is zeros.
__device__ inline void load_rows(std::uint16_t* tile, int stride, const SplitRows& rows, int sequence, int length,
                                 int first, int tile_rows) {
  const int eights = (rows.width + kFragmentDepth - 1) / kFragmentDepth * (kFragmentDepth / kEight);
  for (int i = static_cast<int>(threadIdx.x); i < tile_rows * eights; i += kMlaThreads) {
    const int r = i / eights;
    const int c = i % eights * kEight;
    const bool inside = first + r < length && c < rows.width;
    store_eight(tile + r * stride + c,
                inside ? rows.eight(token_of(sequence, length, first + r), c) : uint4{0, 0, 0, 0});
  }
}

// The warp's 16 rows as operands A, straight from where they lie.
template <int kSteps>
__device__ void load_fragments(unsigned (&fragments)[kSteps][4], const SplitRows& rows, int sequence, int length,
                               int first) {
  const LanePlace place = lane_place();
#pragma unroll
  for (int step = 0; step < kSteps; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = first + place.group + i % 2 * 8;
      const int col = step * kFragmentDepth + place.pair + i / 2 * 8;
      const std::size_t token = token_of(sequence, length, row);
      fragments[step][i] = row < length ? pack_pair(rows.at(token, col), rows.at(token, col + 1)) : 0;
    }
}

using TileProducts = float[kOtherTiles][4];

// products [16, 32] += a tile^T over the first `width` columns, operand A in registers.
template <int kSteps>
__device__ void multiply_rows(TileProducts& products, const unsigned (&a)[kSteps][4], const std::uint16_t* tile,
                              int stride, int width) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    if (step * kFragmentDepth >= width) continue;
#pragma unroll
    for (int other = 0; other < kOtherTiles; ++other) {
      unsigned b[2];
      load_b_rows(b, tile + other * 8 * stride, stride, step * kFragmentDepth);
      arch::mma_m16n8k16_bf16(products[other], a[step], b);
    }
  }
}

// sums [16, width] += RN(weights) [16, 32] tile [32, width].
template <int kTiles>
__device__ void add_weighted_rows(float (&sums)[kTiles][4], const TileProducts& weights, const std::uint16_t* tile,
                                  int stride, int width) {
#pragma unroll
  for (int step = 0; step < kTileOthers / kFragmentDepth; ++step) {
    const float(&low)[4] = weights[2 * step];
    const float(&high)[4] = weights[2 * step + 1];
    const unsigned a[4] = {
        pack_pair(bf16_code(low[0]), bf16_code(low[1])), pack_pair(bf16_code(low[2]), bf16_code(low[3])),
        pack_pair(bf16_code(high[0]), bf16_code(high[1])), pack_pair(bf16_code(high[2]), bf16_code(high[3]))};
#pragma unroll
    for (int col = 0; col < kTiles; ++col) {
      if (col * 8 >= width) continue;
      unsigned b[2];
      load_b_cols(b, tile + step * kFragmentDepth * stride, stride, col * 8);
      arch::mma_m16n8k16_bf16(sums[col], a, b);
    }
  }
}

}  // namespace lastbit::kernels
