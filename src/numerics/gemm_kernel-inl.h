// The hot loop of the vectorised GEMM: one group of K, a chunk of rows, one panel of columns. What it computes and why
// it is exact is told in gemm_vector.cc. Included once for each instruction set.
#if defined(LASTBIT_GEMM_KERNEL_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_KERNEL_INL
#undef LASTBIT_GEMM_KERNEL_INL
#else
#define LASTBIT_GEMM_KERNEL_INL
#endif

#include <hwy/highway.h>

#include <array>
#include <cmath>

#include "numerics/gemm_bytes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Vectors of B beside each other: times kRows the accumulators that hide the latency of an FMA.
#if HWY_TARGET == HWY_SCALAR
constexpr int kVectors = 1;
#else
constexpr int kVectors = 4;
#endif
// How often the inner loop runs for the columns of a panel.
template <typename T>
constexpr std::int64_t kParts = kPanelCols / (kVectors * static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>())));

// What the inner loop needs of the rule.
template <typename L>
struct Grid {
  using T = typename L::Value;
  using Bits = hwy::MakeUnsigned<T>;

  explicit Grid(const MmaRule& rule) {
    constexpr int kFractionBits = hwy::MantissaBits<T>();
    constexpr bool kNarrow = std::is_same_v<L, FloatLanes>;
    const int t = kNarrow ? 16 : rule.fraction_bits + 3;
    const int kept = kNarrow ? 13 : 23;
    const Bits at_exponent = Bits{1} << kFractionBits;
    to_magic = static_cast<Bits>(kFractionBits - rule.fraction_bits) * at_exponent + at_exponent / 2;
    beyond = 1 + std::ldexp(T{1}, -t);
    result_mask = ~((Bits{1} << (kFractionBits - kept)) - 1);
    exponent_mask = hwy::ExponentMask<T>();
    step_k = rule.step_k;
  }

  T beyond;            // 1 + 2^-t
  Bits to_magic;       // to the bits of 2^E: those of M
  Bits result_mask;    // of what a result keeps
  Bits exponent_mask;  // of a lane
  int step_k;          // a power of two
};

// Vectors of lanes from bytes in lane order: `kPair` names two of the four of part `part` of a panel.
template <typename L>
class LanesOf {
  using T = typename L::Value;

  using Bits = hwy::MakeUnsigned<T>;
  using V = hn::Vec<hn::ScalableTag<Bits>>;

 public:
  static constexpr int kAtOnce = std::min(2, kVectors);

  // 2^E from E's bytes.
  template <int kPair>
  static HWY_INLINE void powers(const std::uint8_t* bytes, std::int64_t part, V (&to)[kAtOnce]) {
    constexpr int kFractionBits = hwy::MantissaBits<T>();
    constexpr Bits kBias = sizeof(T) == sizeof(float) ? 127 : 1023;
#if HWY_TARGET == HWY_SCALAR
    to[0] = hn::Set(hn::ScalableTag<Bits>(), (bytes[part] + kBias - L::kCodeOfZero) << kFractionBits);
#else
    const auto zero = hn::Zero(kHalves);
    if constexpr (sizeof(T) == sizeof(float)) {
      const auto code = hn::ShiftLeft<kFractionBits - 16>(words<kPair>(bytes, part));
      to[0] = hn::BitCast(kLanes, hn::InterleaveLower(kHalves, zero, code));
      to[1] = hn::BitCast(kLanes, hn::InterleaveUpper(kHalves, zero, code));
    } else {
      const auto offset = hn::Set(kHalves, static_cast<std::uint16_t>(kBias - L::kCodeOfZero));
      const auto code = hn::ShiftLeft<kFractionBits - 48>(hn::Add(words<kPair>(bytes, part), offset));
      const auto wide = interleaved<kPair>(zero, code);
      to[0] = hn::BitCast(kLanes, hn::InterleaveLower(kWords, hn::Zero(kWords), wide));
      to[1] = hn::BitCast(kLanes, hn::InterleaveUpper(kWords, hn::Zero(kWords), wide));
    }
#endif
  }

  // The bytes themselves.
  template <int kPair>
  static HWY_INLINE void counts(const std::uint8_t* bytes, std::int64_t part, V (&to)[kAtOnce]) {
#if HWY_TARGET == HWY_SCALAR
    to[0] = hn::Set(hn::ScalableTag<Bits>(), Bits{bytes[part]});
#else
    const auto zero = hn::Zero(kHalves);
    const auto count = words<kPair>(bytes, part);
    if constexpr (sizeof(T) == sizeof(float)) {
      to[0] = hn::BitCast(kLanes, hn::InterleaveLower(kHalves, count, zero));
      to[1] = hn::BitCast(kLanes, hn::InterleaveUpper(kHalves, count, zero));
    } else {
      const auto wide = interleaved<kPair>(count, zero);
      to[0] = hn::BitCast(kLanes, hn::InterleaveLower(kWords, wide, hn::Zero(kWords)));
      to[1] = hn::BitCast(kLanes, hn::InterleaveUpper(kWords, wide, hn::Zero(kWords)));
    }
#endif
  }

#if HWY_TARGET != HWY_SCALAR
 private:
  static constexpr hn::ScalableTag<Bits> kLanes{};
  static constexpr hn::ScalableTag<std::uint16_t> kHalves{};

  // A part of floats is a vector of bytes, a part of doubles half of one.
  template <int kPair>
  static HWY_INLINE hn::Vec<decltype(kHalves)> words(const std::uint8_t* bytes, std::int64_t part) {
    const bool narrow = sizeof(T) == sizeof(float);
    const auto byte = hn::Load(kBytes, bytes + (narrow ? part : part / 2) * kHalfCols);
    const bool lower = narrow ? kPair == 0 : part % 2 == 0;
    return hn::BitCast(kHalves, lower ? hn::InterleaveLower(kBytes, byte, hn::Zero(kBytes))
                                      : hn::InterleaveUpper(kBytes, byte, hn::Zero(kBytes)));
  }

  template <int kPair>
  static HWY_INLINE auto interleaved(hn::Vec<decltype(kHalves)> low, hn::Vec<decltype(kHalves)> high) {
    return hn::BitCast(kWords,
                       kPair == 0 ? hn::InterleaveLower(kHalves, low, high) : hn::InterleaveUpper(kHalves, low, high));
  }
#endif
};

#if HWY_TARGET == HWY_AVX2 && defined(__GNUC__) && !defined(LASTBIT_GEMM_ASM)
#define LASTBIT_GEMM_ASM
// The products of three rows and four vectors of columns fill the 16 registers of AVX2: twelve accumulators, an element
// of each row, one vector of B. Compilers fold the load of B into each FMA, or load all of B at once, and then keep
// accumulators in memory, so this one loop says which register holds what. T is s or d, WIDTH and LINE are the bytes of
// an element and of a line of B.
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
#define LASTBIT_GEMM_PRODUCTS(T, WIDTH, LINE)                                                                         \
  asm volatile(                                                                                                       \
      "1:\n\t" LASTBIT_GEMM_ELEMENT(T, WIDTH, LINE, "0") LASTBIT_GEMM_ELEMENT(T, WIDTH, LINE, "1")                    \
          LASTBIT_GEMM_ELEMENT(T, WIDTH, LINE, "2") LASTBIT_GEMM_ELEMENT(                                             \
              T, WIDTH, LINE, "3") "add $4*" WIDTH ", %[a]\n\tadd $4*" LINE ", %[b]\n\tcmp %[end], %[a]\n\tjb 1b\n\t" \
      : [x0] "+x"(acc[0][0].raw), [x1] "+x"(acc[0][1].raw), [x2] "+x"(acc[0][2].raw), [x3] "+x"(acc[0][3].raw),       \
        [y0] "+x"(acc[1][0].raw), [y1] "+x"(acc[1][1].raw), [y2] "+x"(acc[1][2].raw), [y3] "+x"(acc[1][3].raw),       \
        [z0] "+x"(acc[2][0].raw), [z1] "+x"(acc[2][1].raw), [z2] "+x"(acc[2][2].raw), [z3] "+x"(acc[2][3].raw),       \
        [a] "+r"(a), [b] "+r"(b)                                                                                      \
      : [stride] "r"(stride_bytes), [end] "r"(end)                                                                    \
      : "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory")
#endif

// acc += a b over step_k elements of K, a multiple of 4.
template <int kCount, typename T, typename V>
HWY_INLINE void add_products(int step_k, const T* HWY_RESTRICT a, std::int64_t stride, const T* HWY_RESTRICT b,
                             V (&acc)[kCount][kVectors]) {
#if HWY_TARGET == HWY_AVX2 && defined(__GNUC__)
  if constexpr (kCount == 3) {
    const T* end = a + step_k;
    const std::int64_t stride_bytes = stride * static_cast<std::int64_t>(sizeof(T));
    static_assert(kPanelCols == 64);
    if constexpr (sizeof(T) == sizeof(float))
      LASTBIT_GEMM_PRODUCTS("s", "4", "256");  // NOLINT(hicpp-no-assembler)
    else
      LASTBIT_GEMM_PRODUCTS("d", "8", "512");  // NOLINT(hicpp-no-assembler)
    return;
  }
#endif
  constexpr hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t k = 0; k < step_k; ++k, b += kPanelCols) {
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

// Two vectors of accumulators at their start: M + c + N; M is kept. kFromZero: c is 0.
template <int kPair, bool kFromZero, typename L, typename T, typename V>
HWY_INLINE void start(const Grid<L>& grid, const std::uint8_t* largest, const std::uint8_t* negative, std::int64_t part,
                      const T* HWY_RESTRICT c, T* HWY_RESTRICT magic, V* acc) {
  constexpr hn::ScalableTag<T> d;
  constexpr hn::RebindToUnsigned<decltype(d)> u;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto to_magic = hn::Set(u, grid.to_magic);
  hn::Vec<decltype(u)> power[LanesOf<L>::kAtOnce];
  hn::Vec<decltype(u)> count[LanesOf<L>::kAtOnce];
  LanesOf<L>::template powers<kPair>(largest, part, power);
  LanesOf<L>::template counts<kPair>(negative, part, count);
#pragma GCC unroll 2
  for (int v = 0; v < LanesOf<L>::kAtOnce; ++v) {
    if constexpr (kFromZero) {
      const auto m = hn::Add(power[v], to_magic);
      hn::Store(hn::BitCast(d, m), d, magic + v * lanes);
      acc[v] = hn::BitCast(d, hn::Add(m, count[v]));
    } else {
      const auto before = hn::Load(d, c + v * lanes);
      const auto power_c = hn::And(hn::BitCast(u, before), hn::Set(u, grid.exponent_mask));
      const auto larger = hn::BitCast(u, hn::Max(hn::BitCast(d, power[v]), hn::BitCast(d, power_c)));
      const auto m = hn::BitCast(d, hn::Add(larger, to_magic));
      hn::Store(m, d, magic + v * lanes);
      const auto c_negative = hn::ShiftRight<8 * sizeof(T) - 1>(hn::BitCast(u, before));
      const auto sum = hn::BitCast(u, hn::MulAdd(before, hn::Set(d, grid.beyond), m));
      acc[v] = hn::BitCast(d, hn::Add(sum, hn::Add(count[v], c_negative)));
    }
  }
}

// c = step(a, b, c) for kCount rows from row i on and one part of the panel; kFromZero: c is 0. To be called in
// round-toward-zero mode.
template <int kCount, bool kFromZero, typename L, typename T>
HWY_INLINE void add_strip(const Grid<L>& grid, GroupBytes<L>& bytes, const PackedRows<L>& rows, std::int64_t i,
                          std::int64_t group, const T* HWY_RESTRICT b_panel, std::int64_t part,
                          T* HWY_RESTRICT c_panel) {
  constexpr hn::ScalableTag<T> d;
  constexpr hn::RebindToUnsigned<decltype(d)> u;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t first = part * kVectors * lanes;
  T* HWY_RESTRICT c_rows = c_panel + i * kPanelCols + first;
  HWY_ALIGN std::array<T, kCount * kVectors * hn::MaxLanes(d)> magic;
  hn::Vec<decltype(d)> acc[kCount][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) {
    const T* c = c_rows + r * kPanelCols;
    T* m = magic.data() + r * kVectors * lanes;
    start<0, kFromZero>(grid, bytes.largest_of(r), bytes.negative_of(r), part, c, m, acc[r]);
    if constexpr (kVectors > 2)
      start<1, kFromZero>(grid, bytes.largest_of(r), bytes.negative_of(r), part, c + 2 * lanes, m + 2 * lanes,
                          acc[r] + 2);
  }
  add_products<kCount>(grid.step_k, rows.values_of(i, group), rows.stride, b_panel + first, acc);
  const auto result_mask = hn::Set(u, grid.result_mask);
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const auto sum = hn::Sub(acc[r][v], hn::Load(d, magic.data() + (r * kVectors + v) * lanes));
      hn::Store(hn::BitCast(d, hn::And(hn::BitCast(u, sum), result_mask)), d, c_rows + r * kPanelCols + v * lanes);
    }
  }
}

template <int kCount, bool kFromZero, typename L>
HWY_INLINE void add_rows(const Grid<L>& grid, GroupBytes<L>& bytes, const PackedRows<L>& rows, std::int64_t i,
                         std::int64_t group, const typename L::Value* b, typename L::Value* c) {
  bytes.template find<kCount>(rows, i, group);
  for (std::int64_t part = 0; part < kParts<typename L::Value>; ++part)
    add_strip<kCount, kFromZero>(grid, bytes, rows, i, group, b, part, c);
}

// c = step(a, b, c) for the first `count` rows of a chunk and all columns of a panel; kFromZero: c is 0. To be called
// in round-toward-zero mode.
template <bool kFromZero, typename L>
HWY_NOINLINE void add_group(const Grid<L>& grid, GroupBytes<L>& bytes, const PackedRows<L>& rows, std::int64_t count,
                            const PackedPanels<L>& columns, std::int64_t panel, std::int64_t group,
                            typename L::Value* c) {
  const auto* b = columns.values_of(panel, group);
  std::int64_t i = 0;
  for (; i + kRows <= count; i += kRows) add_rows<kRows, kFromZero>(grid, bytes, rows, i, group, b, c);
  for (; i < count; ++i) add_rows<1, kFromZero>(grid, bytes, rows, i, group, b, c);
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
