// Where the accumulators of the vectorised GEMM start: see gemm_vector.cc. Included once for each instruction set.
#if defined(LASTBIT_GEMM_START_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_START_INL
#undef LASTBIT_GEMM_START_INL
#else
#define LASTBIT_GEMM_START_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "numerics/gemm_packing-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Vectors of B beside each other: times kRows the accumulators that hide the latency of an FMA.
#if HWY_TARGET == HWY_SCALAR
constexpr int kVectors = 1;
#else
constexpr int kVectors = 4;
#endif

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

// Two vectors of accumulators at their start: M, and M + c + N. kFromZero: c is 0.
template <int kPair, bool kFromZero, typename L, typename T>
HWY_INLINE void start_pair(const Grid<L>& grid, const std::uint8_t* largest, const std::uint8_t* negative,
                           std::int64_t part, const T* HWY_RESTRICT c, T* HWY_RESTRICT magic, T* HWY_RESTRICT sum) {
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
      hn::Store(hn::BitCast(d, hn::Add(m, count[v])), d, sum + v * lanes);
    } else {
      const auto before = hn::Load(d, c + v * lanes);
      const auto power_c = hn::And(hn::BitCast(u, before), hn::Set(u, grid.exponent_mask));
      const auto larger = hn::BitCast(u, hn::Max(hn::BitCast(d, power[v]), hn::BitCast(d, power_c)));
      const auto m = hn::BitCast(d, hn::Add(larger, to_magic));
      hn::Store(m, d, magic + v * lanes);
      const auto c_negative = hn::ShiftRight<8 * sizeof(T) - 1>(hn::BitCast(u, before));
      const auto with_c = hn::BitCast(u, hn::MulAdd(before, hn::Set(d, grid.beyond), m));
      hn::Store(hn::BitCast(d, hn::Add(with_c, hn::Add(count[v], c_negative))), d, sum + v * lanes);
    }
  }
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
