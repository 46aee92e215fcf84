// Codes with one scale for 1 x 128 elements, also of the transposed matrix and behind SwiGLU.
#include "kernels/quantize/tile_scale.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kLaneElements = kTileWidth / 32;

// A line is a row of the result: element i of line l is value(l, i). A line's elements lie beside each other for a
// matrix as it is, `cols` apart for the transposed one.
struct MatrixLines {
  QuantizeInput input;
  bool transposed;

  __device__ int lines() const { return transposed ? input.cols : input.rows; }
  __device__ int length() const { return transposed ? input.rows : input.cols; }
  __device__ float value(int line, int i) const {
    const auto row = static_cast<std::size_t>(transposed ? i : line);
    const auto col = static_cast<std::size_t>(transposed ? line : i);
    return input_value(input, row * static_cast<std::size_t>(input.cols) + col);
  }
};

struct SwigluLines {
  const std::uint16_t* gate;
  const std::uint16_t* up;
  int rows;
  int cols;
  bool round_product;

  __device__ int lines() const { return rows; }
  __device__ int length() const { return cols; }
  __device__ float value(int line, int i) const {
    const std::size_t at =
        static_cast<std::size_t>(line) * static_cast<std::size_t>(cols) + static_cast<std::size_t>(i);
    const float g = bf16_value(gate[at]);
    const float product = g / (1 + expf(-g)) * bf16_value(up[at]);
    return round_product ? round_bf16(product) : product;
  }
};

// v0: one thread a tile.
template <typename Lines>
__global__ void quantize_lines_v0(Lines lines, QuantizeRule rule, std::uint8_t* codes, float* scales) {
  const int tiles = ceil_div(lines.length(), kTileWidth);
  const int tile = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (tile >= lines.lines() * tiles) return;
  const int line = tile / tiles;
  const int begin = tile % tiles * kTileWidth;
  const int end = min(begin + kTileWidth, lines.length());
  float amax = 0;
  for (int i = begin; i < end; ++i) amax = fmaxf(amax, fabsf(lines.value(line, i)));
  const TileScale scale = tile_scale(amax, rule);
  scales[tile] = scale.scale;
  for (int i = begin; i < end; ++i)
    codes[static_cast<std::size_t>(line) * static_cast<std::size_t>(lines.length()) + static_cast<std::size_t>(i)] =
        tile_code(lines.value(line, i), scale, rule);
}

// Codes of one lane, four beside each other: written at once where the row allows it.
__device__ void store_codes(std::uint8_t* to, const std::uint8_t (&codes)[kLaneElements], int count) {
  if (count >= kLaneElements && reinterpret_cast<std::uintptr_t>(to) % 4 == 0) {
    unsigned word = 0;
    for (int i = 0; i < kLaneElements; ++i) word |= static_cast<unsigned>(codes[i]) << (8 * i);
    *reinterpret_cast<unsigned*>(to) = word;
    return;
  }
  for (int i = 0; i < min(count, kLaneElements); ++i) to[i] = codes[i];
}

// One warp a tile, four neighbouring elements a lane, each read once.
template <typename Lines>
__global__ void __launch_bounds__(kThreads)
    quantize_lines(Lines lines, QuantizeRule rule, std::uint8_t* codes, float* scales) {
  const int tiles = ceil_div(lines.length(), kTileWidth);
  const int tile = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  if (tile >= lines.lines() * tiles) return;  // all of a warp
  const int line = tile / tiles;
  const int first = tile % tiles * kTileWidth + static_cast<int>(threadIdx.x) % 32 * kLaneElements;
  const int count = lines.length() - first;
  float values[kLaneElements] = {};
  float amax = 0;
  for (int i = 0; i < kLaneElements; ++i)
    if (i < count) {
      values[i] = lines.value(line, first + i);
      amax = fmaxf(amax, fabsf(values[i]));
    }
  const TileScale scale = tile_scale(warp_max(amax), rule);
  if (threadIdx.x % 32 == 0) scales[tile] = scale.scale;
  std::uint8_t mine[kLaneElements];
  for (int i = 0; i < kLaneElements; ++i) mine[i] = tile_code(values[i], scale, rule);
  if (count > 0)
    store_codes(codes + static_cast<std::size_t>(line) * static_cast<std::size_t>(lines.length()) +
                    static_cast<std::size_t>(first),
                mine, count);
}

// The transposed matrix by way of shared memory: a block turns 128 rows x 32 columns, so that both sides of it are read
// and written along rows.
constexpr int kTurnedCols = 32;

__global__ void __launch_bounds__(kThreads)
    quantize_turned(QuantizeInput input, QuantizeRule rule, std::uint8_t* codes, float* scales) {
  __shared__ float turned[kTurnedCols][kTileWidth + 1];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int first_row = static_cast<int>(blockIdx.y) * kTileWidth;
  const int first_col = static_cast<int>(blockIdx.x) * kTurnedCols;
  const auto cols = static_cast<std::size_t>(input.cols);
  for (int row = warp; row < kTileWidth; row += kWarps) {
    const bool inside = first_row + row < input.rows && first_col + lane < input.cols;
    const std::size_t at =
        static_cast<std::size_t>(first_row + row) * cols + static_cast<std::size_t>(first_col + lane);
    turned[lane][row] = inside ? input_value(input, at) : 0;
  }
  __syncthreads();
  const int tiles = ceil_div(input.rows, kTileWidth);
  for (int col = warp; col < kTurnedCols && first_col + col < input.cols; col += kWarps) {
    float amax = 0;
    for (int i = 0; i < kLaneElements; ++i) amax = fmaxf(amax, fabsf(turned[col][lane + 32 * i]));
    const TileScale scale = tile_scale(warp_max(amax), rule);
    if (lane == 0) scales[(first_col + col) * tiles + static_cast<int>(blockIdx.y)] = scale.scale;
    for (int row = lane; row < kTileWidth && first_row + row < input.rows; row += 32)
      codes[static_cast<std::size_t>(first_col + col) * static_cast<std::size_t>(input.rows) +
            static_cast<std::size_t>(first_row + row)] = tile_code(turned[col][row], scale, rule);
  }
}

template <typename Lines>
void launch_lines(const char* name, const Lines& lines, int tiles, const QuantizeRule& rule, std::uint8_t* codes,
                  float* scales, Version version) {
  if (version == Version::kObvious)
    simt::launch({name, dim3{static_cast<unsigned>(ceil_div(tiles, kThreads)), 1, 1}, dim3{kThreads, 1, 1}},
                 quantize_lines_v0<Lines>, lines, rule, codes, scales);
  else
    simt::launch({name, dim3{static_cast<unsigned>(ceil_div(tiles, kWarps)), 1, 1}, dim3{kThreads, 1, 1}},
                 quantize_lines<Lines>, lines, rule, codes, scales);
}

}  // namespace

void quantize_1x128(const QuantizeInput& input, const QuantizeRule& rule, std::uint8_t* codes, float* scales,
                    Version version) {
  launch_lines("quantize_1x128", MatrixLines{input, false}, input.rows * ceil_div(input.cols, kTileWidth), rule, codes,
               scales, version);
}

void quantize_1x128_transposed(const QuantizeInput& input, const QuantizeRule& rule, std::uint8_t* codes, float* scales,
                               Version version) {
  const int tiles = ceil_div(input.rows, kTileWidth);
  if (version == Version::kObvious)
    return launch_lines("quantize_1x128_transposed", MatrixLines{input, true}, input.cols * tiles, rule, codes, scales,
                        version);
  const dim3 grid{static_cast<unsigned>(ceil_div(input.cols, kTurnedCols)), static_cast<unsigned>(tiles), 1};
  simt::launch({"quantize_1x128_transposed", grid, dim3{kThreads, 1, 1}}, quantize_turned, input, rule, codes, scales);
}

void swiglu_quantize_1x128(const std::uint16_t* gate, const std::uint16_t* up, int rows, int cols, bool round_product,
                           const QuantizeRule& rule, std::uint8_t* codes, float* scales, Version version) {
  launch_lines("swiglu_quantize_1x128", SwigluLines{gate, up, rows, cols, round_product},
               rows * ceil_div(cols, kTileWidth), rule, codes, scales, version);
}

}  // namespace lastbit::kernels
