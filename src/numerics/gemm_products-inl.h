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

#if HWY_TARGET <= HWY_AVX3 && defined(__GNUC__) && !defined(LASTBIT_GEMM_WIDE_ASM)
#define LASTBIT_GEMM_WIDE_ASM
// Likewise for AVX-512, four rows: an element of K in two halves, of two vectors of columns each, as a statement takes
// no more than 30 operands. The first makes the elements of the rows, x, which the second uses.
#define LASTBIT_GEMM_WIDE_VECTOR(T, AT, I) \
  "vmovap" T " " AT                        \
  "(%[b]), %%zmm31\n\t"                    \
  "vfmadd231p" T " %%zmm31, %[x0], %[y0" I \
  "]\n\t"                                  \
  "vfmadd231p" T " %%zmm31, %[x1], %[y1" I \
  "]\n\t"                                  \
  "vfmadd231p" T " %%zmm31, %[x2], %[y2" I \
  "]\n\t"                                  \
  "vfmadd231p" T " %%zmm31, %[x3], %[y3" I "]\n\t"
#define LASTBIT_GEMM_WIDE_ACC(V)                                                                              \
  [y00] "+v"(acc[0][V].raw), [y10] "+v"(acc[1][V].raw), [y20] "+v"(acc[2][V].raw), [y30] "+v"(acc[3][V].raw), \
      [y01] "+v"(acc[0][V + 1].raw), [y11] "+v"(acc[1][V + 1].raw), [y21] "+v"(acc[2][V + 1].raw),            \
      [y31] "+v"(acc[3][V + 1].raw)
#define LASTBIT_GEMM_WIDE_ELEMENT(T, WIDTH, LINE, I)                                                         \
  asm volatile("vbroadcasts" T " (" WIDTH "*" I                                                              \
               ")(%[a]), %[x0]\n\t"                                                                          \
               "vbroadcasts" T " (" WIDTH "*" I                                                              \
               ")(%[a],%[stride]), %[x1]\n\t"                                                                \
               "vbroadcasts" T " (" WIDTH "*" I                                                              \
               ")(%[a],%[stride],2), %[x2]\n\t"                                                              \
               "vbroadcasts" T " (" WIDTH "*" I ")(%[a],%[stride3]), %[x3]\n\t" LASTBIT_GEMM_WIDE_VECTOR(    \
                   T, "(" LINE "*" I ")", "0") LASTBIT_GEMM_WIDE_VECTOR(T, "(64+" LINE "*" I ")", "1")       \
               : LASTBIT_GEMM_WIDE_ACC(0), [x0] "=&v"(x[0].raw), [x1] "=&v"(x[1].raw), [x2] "=&v"(x[2].raw), \
                 [x3] "=&v"(x[3].raw)                                                                        \
               : [a] "r"(a), [b] "r"(b), [stride] "r"(stride_bytes), [stride3] "r"(3 * stride_bytes)         \
               : "xmm31", "memory");                                                                         \
  asm volatile(LASTBIT_GEMM_WIDE_VECTOR(T, "(128+" LINE "*" I ")", "0")                                      \
                   LASTBIT_GEMM_WIDE_VECTOR(T, "(192+" LINE "*" I ")", "1")                                  \
               : LASTBIT_GEMM_WIDE_ACC(2)                                                                    \
               : [x0] "v"(x[0].raw), [x1] "v"(x[1].raw), [x2] "v"(x[2].raw), [x3] "v"(x[3].raw), [b] "r"(b)  \
               : "xmm31", "memory")
#define LASTBIT_GEMM_WIDE_QUAD(T, WIDTH, LINE)    \
  LASTBIT_GEMM_WIDE_ELEMENT(T, WIDTH, LINE, "0"); \
  LASTBIT_GEMM_WIDE_ELEMENT(T, WIDTH, LINE, "1"); \
  LASTBIT_GEMM_WIDE_ELEMENT(T, WIDTH, LINE, "2"); \
  LASTBIT_GEMM_WIDE_ELEMENT(T, WIDTH, LINE, "3")
#endif

// acc += a b over four elements of K of kCount rows, which lie `stride` apart, and kVectors vectors of columns.
// kPinned: for code with more to keep in registers than the products, where there are named ones for them.
template <int kCount, bool kPinned, typename T, typename V>
HWY_INLINE void add_quad(const T* HWY_RESTRICT a, std::int64_t stride, const T* HWY_RESTRICT b,
                         V (&acc)[kCount][kVectors]) {
  [[maybe_unused]] const std::int64_t stride_bytes = stride * static_cast<std::int64_t>(sizeof(T));
  // Registers are named, which Highway has no words for.
#if HWY_TARGET == HWY_AVX2 && defined(__GNUC__)
  if constexpr (kCount == 3) {
    static_assert(kPanelCols == 64);
    if constexpr (sizeof(T) == sizeof(float))
      LASTBIT_GEMM_QUAD("s", "4", "256");  // NOLINT(hicpp-no-assembler)
    else
      LASTBIT_GEMM_QUAD("d", "8", "512");  // NOLINT(hicpp-no-assembler)
    return;
  }
#elif HWY_TARGET <= HWY_AVX3 && defined(__GNUC__)
  if constexpr (kCount == 4 && kPinned) {
    static_assert(kPanelCols == 128);
    V x[4];
    if constexpr (sizeof(T) == sizeof(float)) {
      LASTBIT_GEMM_WIDE_QUAD("s", "4", "512");  // NOLINT(hicpp-no-assembler)
    } else {
      LASTBIT_GEMM_WIDE_QUAD("d", "8", "1024");  // NOLINT(hicpp-no-assembler)
    }
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
