// What the packing of rows and of columns of the vectorised GEMM share. Included once for each instruction set.
#if defined(LASTBIT_GEMM_PACKING_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_PACKING_INL
#undef LASTBIT_GEMM_PACKING_INL
#else
#define LASTBIT_GEMM_PACKING_INL
#endif

#include <hwy/highway.h>

#include <cstring>

#include "numerics/gemm_decode-inl.h"
#include "numerics/gemm_paths.h"
#include "numerics/quantize_loops.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t step) { return ceil_div(value, step) * step; }

// Lines of the tables that gemm_kernel-inl.h makes of a panel: for each two elements of K one for
// each pair of planes, for each four one for each pattern of signs; a byte holds four bits of a column and of the one
// kHalfCols further. Rows keep the places of theirs in bytes, in units of kPlaceUnit: x86 multiplies by 8 as it loads.
constexpr std::int64_t kPairLines = kPlanes * kPlanes;
constexpr std::int64_t kSignLines = 16;
constexpr std::int64_t kPlaceUnit = kHalfCols < 8 ? 1 : 8;
constexpr std::int64_t kLineUnits = kHalfCols / kPlaceUnit;

#if HWY_TARGET != HWY_SCALAR
// to[j * to_stride + i] = from[i * from_stride + j] for eight rows and columns.
HWY_INLINE void transpose_eight(const std::uint16_t* from, std::int64_t from_stride, std::uint16_t* to,
                                std::int64_t to_stride) {
  constexpr hn::Full128<std::uint16_t> d;
  constexpr hn::Full128<std::uint32_t> d2;
  constexpr hn::Full128<std::uint64_t> d4;
  hn::Vec<decltype(d)> row[8];
  for (int r = 0; r < 8; ++r) row[r] = hn::LoadU(d, from + r * from_stride);
  // Two rows' words side by side, then four rows', then eight's: columns 0 1 | 2 3, low halves of rows before high
  // ones.
  hn::Vec<decltype(d2)> two[8];
  for (int r = 0; r < 4; ++r) {
    two[r] = hn::BitCast(d2, hn::InterleaveLower(d, row[2 * r], row[2 * r + 1]));
    two[4 + r] = hn::BitCast(d2, hn::InterleaveUpper(d, row[2 * r], row[2 * r + 1]));
  }
  for (int half = 0; half < 2; ++half)
    for (int pair = 0; pair < 2; ++pair) {
      const auto* of = two + 4 * half;
      const auto a = pair == 0 ? hn::InterleaveLower(d2, of[0], of[1]) : hn::InterleaveUpper(d2, of[0], of[1]);
      const auto b = pair == 0 ? hn::InterleaveLower(d2, of[2], of[3]) : hn::InterleaveUpper(d2, of[2], of[3]);
      const auto a4 = hn::BitCast(d4, a);
      const auto b4 = hn::BitCast(d4, b);
      std::uint16_t* line = to + (4 * half + 2 * pair) * to_stride;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d4, a4, b4)), d, line);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d4, a4, b4)), d, line + to_stride);
    }
}
#endif

// to[j * to_stride + i] = element (i, j) of a matrix of codes, wherever it starts.
template <typename Code>
void transpose_codes(const std::byte* from, std::int64_t rows, std::int64_t cols, std::int64_t from_stride, Code* to,
                     std::int64_t to_stride) {
  constexpr auto kWidth = static_cast<std::int64_t>(sizeof(Code));
  std::int64_t whole_rows = 0;
  std::int64_t whole_cols = 0;
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kWidth == 2) {
    whole_rows = rows / 8 * 8;
    whole_cols = cols / 8 * 8;
    for (std::int64_t i = 0; i < whole_rows; i += 8)
      for (std::int64_t j = 0; j < whole_cols; j += 8)
        transpose_eight(reinterpret_cast<const Code*>(from) + i * from_stride + j, from_stride, to + j * to_stride + i,
                        to_stride);
  }
#endif
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = i < whole_rows ? whole_cols : 0; j < cols; ++j)
      std::memcpy(to + j * to_stride + i, from + (i * from_stride + j) * kWidth, kWidth);
}

// Copies element (line, i) of a code matrix to tile[line * row_step + i * k_step]; one of the steps is 1.
template <typename Code>
void stage(const CodeMatrix& matrix, std::int64_t row, std::int64_t rows, std::int64_t k, std::int64_t length,
           Code* tile, std::int64_t row_step, std::int64_t k_step) {
  constexpr auto kWidth = static_cast<std::int64_t>(sizeof(Code));
  const std::byte* base = matrix.bytes.data() + (row * matrix.row_stride() + k * matrix.col_stride()) * kWidth;
  // Lines of memory, and where their elements go.
  const std::int64_t lines = matrix.transposed ? length : rows;
  const std::int64_t count = matrix.transposed ? rows : length;
  const std::int64_t line_elements = matrix.transposed ? matrix.rows : matrix.cols;
  const std::int64_t line_step = matrix.transposed ? k_step : row_step;
  const std::int64_t step = matrix.transposed ? row_step : k_step;
  if (step == 1) {
    for (std::int64_t i = 0; i < lines; ++i)
      std::memcpy(tile + i * line_step, base + i * line_elements * kWidth, static_cast<std::size_t>(count * kWidth));
  } else if constexpr (kWidth == 1) {
    transpose_bytes(reinterpret_cast<const std::uint8_t*>(base), lines, count, line_elements, tile, step);
  } else {
    transpose_codes(base, lines, count, line_elements, tile, step);
  }
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
