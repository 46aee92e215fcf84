// The products of the vectorised GEMM, four elements of K at a time. Included once for each instruction set.
#if defined(LASTBIT_GEMM_PRODUCTS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_PRODUCTS_INL
#undef LASTBIT_GEMM_PRODUCTS_INL
#else
#define LASTBIT_GEMM_PRODUCTS_INL
#endif

#include <hwy/highway.h>

#include "numerics/gemm_start-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_AVX2 && defined(__GNUC__) && !defined(LASTBIT_GEMM_ASM)
#define LASTBIT_GEMM_ASM
// The products of three rows and four vectors of columns fill the 16 registers of AVX2: twelve accumulators, an element
// of each row, one vector of B. Compilers fold the load of B into each FMA, or load all of B at once, and then keep
// accumulators in memory, so this one place says which register holds what. T is s or d, WIDTH and LINE are the bytes
// of an element and of a line of B.
#define LASTBIT_GEMM_VECTOR(T, AT, FIRST, SECOND, THIRD) \
  "vmovap" T " " AT                                      \
  "(%[b]), %%ymm15\n\t"                                  \
  "vfmadd231p" T " %%ymm15, %%ymm12, %[" FIRST           \
  "]\n\t"                                                \
  "vfmadd231p" T " %%ymm15, %%ymm13, %[" SECOND          \
  "]\n\t"                                                \
  "vfmadd231p" T " %%ymm15, %%ymm14, %[" THIRD "]\n\t"
#define LASTBIT_GEMM_ELEMENT(T, WIDTH, LINE, I)                                                   \
  "vbroadcasts" T " (" WIDTH "*" I                                                                \
  ")(%[a]), %%ymm12\n\t"                                                                          \
  "vbroadcasts" T " (" WIDTH "*" I                                                                \
  ")(%[a],%[stride]), %%ymm13\n\t"                                                                \
  "vbroadcasts" T " (" WIDTH "*" I                                                                \
  ")(%[a],%[stride],2), %%ymm14\n\t" LASTBIT_GEMM_VECTOR(T, "(" LINE "*" I ")", "x0", "y0", "z0") \
      LASTBIT_GEMM_VECTOR(T, "(32+" LINE "*" I ")", "x1", "y1", "z1")                             \
          LASTBIT_GEMM_VECTOR(T, "(64+" LINE "*" I ")", "x2", "y2", "z2")                         \
              LASTBIT_GEMM_VECTOR(T, "(96+" LINE "*" I ")", "x3", "y3", "z3")
#define LASTBIT_GEMM_QUAD(T, WIDTH, LINE)                                                                       \
  asm volatile(                                                                                                 \
      LASTBIT_GEMM_ELEMENT(T, WIDTH, LINE, "0") LASTBIT_GEMM_ELEMENT(T, WIDTH, LINE, "1")                       \
          LASTBIT_GEMM_ELEMENT(T, WIDTH, LINE, "2") LASTBIT_GEMM_ELEMENT(T, WIDTH, LINE, "3")                   \
      : [x0] "+x"(acc[0][0].raw), [x1] "+x"(acc[0][1].raw), [x2] "+x"(acc[0][2].raw), [x3] "+x"(acc[0][3].raw), \
        [y0] "+x"(acc[1][0].raw), [y1] "+x"(acc[1][1].raw), [y2] "+x"(acc[1][2].raw), [y3] "+x"(acc[1][3].raw), \
        [z0] "+x"(acc[2][0].raw), [z1] "+x"(acc[2][1].raw), [z2] "+x"(acc[2][2].raw), [z3] "+x"(acc[2][3].raw)  \
      : [a] "r"(a), [b] "r"(b), [stride] "r"(stride_bytes)                                                      \
      : "xmm12", "xmm13", "xmm14", "xmm15", "memory")
#endif

// acc += a b over four elements of K of kCount rows, which lie `stride` apart, and kVectors vectors of columns.
template <int kCount, typename T, typename V>
HWY_INLINE void add_quad(const T* HWY_RESTRICT a, std::int64_t stride, const T* HWY_RESTRICT b,
                         V (&acc)[kCount][kVectors]) {
#if HWY_TARGET == HWY_AVX2 && defined(__GNUC__)
  if constexpr (kCount == 3) {
    static_assert(kPanelCols == 64);
    // Registers are named, which Highway has no words for.
    const std::int64_t stride_bytes = stride * static_cast<std::int64_t>(sizeof(T));
    if constexpr (sizeof(T) == sizeof(float))
      LASTBIT_GEMM_QUAD("s", "4", "256");  // NOLINT(hicpp-no-assembler)
    else
      LASTBIT_GEMM_QUAD("d", "8", "512");  // NOLINT(hicpp-no-assembler)
    return;
  }
#endif
  constexpr hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < 4; ++k, b += kPanelCols) {
    V x[kCount];
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) x[r] = hn::Set(d, a[r * stride + k]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const auto column = hn::Load(d, b + v * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) acc[r][v] = hn::MulAdd(x[r], column, acc[r][v]);
    }
  }
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
