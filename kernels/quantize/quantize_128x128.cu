// Codes with one scale for 128 x 128 elements, as they lie or transposed.
#include "kernels/quantize/tile_scale.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// What of the matrix lies in the block's tile.
struct Tile {
  int row;
  int col;
  int rows;
  int cols;
};

__device__ Tile tile_at(const QuantizeInput& input, int tile_row, int tile_col) {
  const int row = tile_row * kTileWidth;
  const int col = tile_col * kTileWidth;
  return {row, col, min(kTileWidth, input.rows - row), min(kTileWidth, input.cols - col)};
}

__device__ std::size_t element(const QuantizeInput& input, const Tile& tile, int r, int c) {
  return static_cast<std::size_t>(tile.row + r) * static_cast<std::size_t>(input.cols) +
         static_cast<std::size_t>(tile.col + c);
}

__device__ std::size_t element_turned(const QuantizeInput& input, const Tile& tile, int r, int c) {
  return static_cast<std::size_t>(tile.col + c) * static_cast<std::size_t>(input.rows) +
         static_cast<std::size_t>(tile.row + r);
}

__device__ std::size_t scale_index(const QuantizeInput& input, int tile_row, int tile_col, bool transposed) {
  const int rows = ceil_div(input.rows, kTileWidth);
  const int cols = ceil_div(input.cols, kTileWidth);
  return static_cast<std::size_t>(transposed ? tile_col * rows + tile_row : tile_row * cols + tile_col);
}

// v0: one thread a tile.
__global__ void quantize_128x128_v0(QuantizeInput input, QuantizeRule rule, bool transposed, std::uint8_t* codes,
                                    float* scales) {
  const int cols = ceil_div(input.cols, kTileWidth);
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= ceil_div(input.rows, kTileWidth) * cols) return;
  const Tile tile = tile_at(input, index / cols, index % cols);
  float amax = 0;
  for (int r = 0; r < tile.rows; ++r)
    for (int c = 0; c < tile.cols; ++c) amax = fmaxf(amax, fabsf(input_value(input, element(input, tile, r, c))));
  const TileScale scale = tile_scale(amax, rule);
  scales[scale_index(input, index / cols, index % cols, transposed)] = scale.scale;
  for (int r = 0; r < tile.rows; ++r)
    for (int c = 0; c < tile.cols; ++c)
      codes[transposed ? element_turned(input, tile, r, c) : element(input, tile, r, c)] =
          tile_code(input_value(input, element(input, tile, r, c)), scale, rule);
}

// One block a tile: threads read along rows, and write along the result's rows by way of shared memory.
__global__ void __launch_bounds__(kThreads)
    quantize_128x128_tiles(QuantizeInput input, QuantizeRule rule, bool transposed, std::uint8_t* codes,
                           float* scales) {
  __shared__ float warp_amax[kWarps];
  __shared__ std::uint8_t staged[kTileWidth][kTileWidth + 4];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int tile_row = static_cast<int>(blockIdx.y);
  const int tile_col = static_cast<int>(blockIdx.x);
  const Tile tile = tile_at(input, tile_row, tile_col);
  float amax = 0;
  for (int r = warp; r < tile.rows; r += kWarps)
    for (int c = lane; c < tile.cols; c += 32)
      amax = fmaxf(amax, fabsf(input_value(input, element(input, tile, r, c))));
  amax = warp_max(amax);
  if (lane == 0) warp_amax[warp] = amax;
  __syncthreads();
  for (int i = 0; i < kWarps; ++i) amax = fmaxf(amax, warp_amax[i]);
  const TileScale scale = tile_scale(amax, rule);
  if (threadIdx.x == 0) scales[scale_index(input, tile_row, tile_col, transposed)] = scale.scale;
  for (int r = warp; r < tile.rows; r += kWarps)
    for (int c = lane; c < tile.cols; c += 32) {
      const std::uint8_t code = tile_code(input_value(input, element(input, tile, r, c)), scale, rule);
      if (transposed)
        staged[c][r] = code;
      else
        codes[element(input, tile, r, c)] = code;
    }
  if (!transposed) return;  // all threads
  __syncthreads();
  for (int c = warp; c < tile.cols; c += kWarps)
    for (int r = lane; r < tile.rows; r += 32) codes[element_turned(input, tile, r, c)] = staged[c][r];
}

}  // namespace

void quantize_128x128(const QuantizeInput& input, const QuantizeRule& rule, bool transposed, std::uint8_t* codes,
                      float* scales, Version version) {
  const auto rows = static_cast<unsigned>(ceil_div(input.rows, kTileWidth));
  const auto cols = static_cast<unsigned>(ceil_div(input.cols, kTileWidth));
  if (version == Version::kObvious)
    simt::launch({"quantize_128x128", dim3{(rows * cols + 31) / 32, 1, 1}, dim3{32, 1, 1}}, quantize_128x128_v0, input,
                 rule, transposed, codes, scales);
  else
    simt::launch({"quantize_128x128", dim3{cols, rows, 1}, dim3{kThreads, 1, 1}}, quantize_128x128_tiles, input, rule,
                 transposed, codes, scales);
}

}  // namespace lastbit::kernels
