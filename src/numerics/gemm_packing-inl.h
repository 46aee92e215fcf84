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
    for (std::int64_t i = 0; i < lines; ++i)
      for (std::int64_t j = 0; j < count; ++j)
        std::memcpy(tile + i * line_step + j * step, base + (i * line_elements + j) * kWidth, kWidth);
  }
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
