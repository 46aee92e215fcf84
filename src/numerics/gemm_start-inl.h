// Where the accumulators of the vectorised GEMM start: see gemm_vector.cc. Included once for each instruction set.
#if defined(LASTBIT_GEMM_START_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_START_INL
#undef LASTBIT_GEMM_START_INL
#else
#define LASTBIT_GEMM_START_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
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
    half = at_exponent / 2;
    to_magic = static_cast<Bits>(kFractionBits - rule.fraction_bits) * at_exponent + half;
    beyond = 1 + std::ldexp(T{1}, -t);
    result_mask = ~((Bits{1} << (kFractionBits - kept)) - 1);
    exponent_mask = hwy::ExponentMask<T>();
    step_k = rule.step_k;
  }

  T beyond;            // 1 + 2^-t
  Bits half;           // the fraction of M
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
  static constexpr hn::ScalableTag<std::uint16_t> kHalves{};

  // Bytes as words. A part of floats is a vector of bytes, a part of doubles half of one.
  template <int kPair>
  static HWY_INLINE hn::Vec<decltype(kHalves)> words(const std::uint8_t* bytes, std::int64_t part) {
    const bool narrow = sizeof(T) == sizeof(float);
    const auto byte = hn::Load(kBytes, bytes + (narrow ? part : part / 2) * kHalfCols);
    const bool lower = narrow ? kPair == 0 : part % 2 == 0;
    return hn::BitCast(kHalves, lower ? hn::InterleaveLower(kBytes, byte, hn::Zero(kBytes))
                                      : hn::InterleaveUpper(kBytes, byte, hn::Zero(kBytes)));
  }

 private:
  static constexpr hn::ScalableTag<Bits> kLanes{};

  template <int kPair>
  static HWY_INLINE auto interleaved(hn::Vec<decltype(kHalves)> low, hn::Vec<decltype(kHalves)> high) {
    return hn::BitCast(kWords,
                       kPair == 0 ? hn::InterleaveLower(kHalves, low, high) : hn::InterleaveUpper(kHalves, low, high));
  }
#endif
};

// A vector of c.
template <typename D>
HWY_INLINE hn::Vec<D> load_result(D d, const float* from) {
  if constexpr (sizeof(hn::TFromD<D>) == sizeof(float))
    return hn::LoadU(d, from);
  else
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), from));
}

// Truncated to what a result keeps: in round-toward-zero mode a conversion does so.
HWY_INLINE void store_result(hn::Vec<hn::ScalableTag<float>> sum, hn::Vec<hn::ScalableTag<std::uint32_t>> result_mask,
                             float* to) {
  const hn::ScalableTag<float> d;
  hn::StoreU(hn::BitCast(d, hn::And(hn::BitCast(hn::ScalableTag<std::uint32_t>(), sum), result_mask)), d, to);
}
HWY_INLINE void store_result(hn::Vec<hn::ScalableTag<double>> sum, hn::Vec<hn::ScalableTag<std::uint64_t>> /*mask*/,
                             float* to) {
  const hn::Rebind<float, hn::ScalableTag<double>> f;
  hn::StoreU(hn::DemoteTo(f, sum), f, to);
}

#if HWY_TARGET <= HWY_AVX3
// M is found again at the end, from the sum's exponent.
constexpr bool kKeepsMagic = false;

// Vectors of lanes from the bytes of E and N at once: 2^E + N units in its last place.
template <typename L>
class PowersAndCounts {
  using T = typename L::Value;
  using Bits = hwy::MakeUnsigned<T>;

 public:
  template <int kPair>
  static HWY_INLINE void get(const std::uint8_t* largest, const std::uint8_t* negative, std::int64_t part,
                             hn::Vec<hn::ScalableTag<Bits>> (&to)[2]) {
    constexpr int kFractionBits = hwy::MantissaBits<T>();
    const auto count = LanesOf<L>::template words<kPair>(negative, part);
    const auto exponent = LanesOf<L>::template words<kPair>(largest, part);
    if constexpr (sizeof(T) == sizeof(float)) {
      const auto code = hn::ShiftLeft<kFractionBits - 16>(exponent);
      to[0] = hn::BitCast(kLanes, hn::InterleaveLower(kHalves, count, code));
      to[1] = hn::BitCast(kLanes, hn::InterleaveUpper(kHalves, count, code));
    } else {
      const auto offset = hn::Set(kHalves, static_cast<std::uint16_t>(1023 - L::kCodeOfZero));
      const auto code = hn::ShiftLeft<kFractionBits - 48>(hn::Add(exponent, offset));
      // The first and the last of the four words of each lane; zeros between them.
      constexpr __mmask32 kFirstAndLast = 0x99999999;
      for (std::size_t v = 0; v < 2; ++v)
        to[v].raw = _mm512_maskz_permutex2var_epi16(
            kFirstAndLast, count.raw, hn::Load(kHalves, kWordsOf.data() + (2 * kPair + v) * 32).raw, code.raw);
    }
  }

 private:
  static constexpr hn::ScalableTag<Bits> kLanes{};
  static constexpr hn::ScalableTag<std::uint16_t> kHalves{};

  // Of each vector of a part, for the words of its lanes: where the lane's word of counts is, and of exponents.
  HWY_ALIGN static constexpr std::array<std::uint16_t, 4 * 32> kWordsOf = [] {
    std::array<std::uint16_t, 4 * 32> words{};
    for (std::size_t v = 0; v < 4; ++v)
      for (std::size_t lane = 0; lane < 8; ++lane) {
        const std::size_t word = lane / 2 * 8 + 2 * v + lane % 2;
        words[v * 32 + lane * 4] = static_cast<std::uint16_t>(word);
        words[v * 32 + lane * 4 + 3] = static_cast<std::uint16_t>(32 + word);
      }
    return words;
  }();
};

// Bits of `yes` where the mask has ones, of `no` elsewhere.
template <typename V>
HWY_INLINE V select_bits(V mask, V yes, V no) {
  return V{_mm512_ternarylogic_epi64(mask.raw, yes.raw, no.raw, 0xca)};
}

// M + c, truncated toward zero to M's last place. Both sums name their rounding: GCC takes a plain one and a masked one
// for the same.
HWY_INLINE hn::Vec<hn::ScalableTag<float>> truncated_sum(hn::Vec<hn::ScalableTag<float>> m,
                                                         hn::Vec<hn::ScalableTag<float>> c) {
  const __mmask16 negative = _mm512_movepi32_mask(_mm512_castps_si512(c.raw));
  const auto down = _mm512_add_round_ps(m.raw, c.raw, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
  return hn::Vec<hn::ScalableTag<float>>{
      _mm512_mask_add_round_ps(down, negative, m.raw, c.raw, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)};
}
HWY_INLINE hn::Vec<hn::ScalableTag<double>> truncated_sum(hn::Vec<hn::ScalableTag<double>> m,
                                                          hn::Vec<hn::ScalableTag<double>> c) {
  const __mmask8 negative = _mm512_movepi64_mask(_mm512_castpd_si512(c.raw));
  const auto down = _mm512_add_round_pd(m.raw, c.raw, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
  return hn::Vec<hn::ScalableTag<double>>{
      _mm512_mask_add_round_pd(down, negative, m.raw, c.raw, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)};
}

// Two vectors of accumulators at their start: M + c + N. kFromZero: c is 0.
template <int kPair, bool kFromZero, typename L, typename T>
HWY_INLINE void start_pair(const Grid<L>& grid, const std::uint8_t* largest, const std::uint8_t* negative,
                           std::int64_t part, const float* HWY_RESTRICT c, T* /*magic*/, T* HWY_RESTRICT sum) {
  constexpr hn::ScalableTag<T> d;
  constexpr hn::RebindToUnsigned<decltype(d)> u;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto to_magic = hn::Set(u, grid.to_magic);
  hn::Vec<decltype(u)> power[2];
  PowersAndCounts<L>::template get<kPair>(largest, negative, part, power);
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    if constexpr (kFromZero) {
      hn::Store(hn::BitCast(d, hn::Add(power[v], to_magic)), d, sum + v * lanes);
    } else {
      const auto before = load_result(d, c + v * lanes);
      const auto power_c = select_bits(hn::Set(u, grid.exponent_mask), hn::BitCast(u, before), power[v]);
      // Words of doubles alike: the upper ones decide, and the lower ones are both N.
      const auto larger = hn::BitCast(u, hn::Max(hn::BitCast(kWords, power[v]), hn::BitCast(kWords, power_c)));
      hn::Store(truncated_sum(hn::BitCast(d, hn::Add(larger, to_magic)), before), d, sum + v * lanes);
    }
  }
}
#else
constexpr bool kKeepsMagic = true;

// Two vectors of accumulators at their start: M, and M + c + N. kFromZero: c is 0.
template <int kPair, bool kFromZero, typename L, typename T>
HWY_INLINE void start_pair(const Grid<L>& grid, const std::uint8_t* largest, const std::uint8_t* negative,
                           std::int64_t part, const float* HWY_RESTRICT c, T* HWY_RESTRICT magic, T* HWY_RESTRICT sum) {
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
      const auto before = load_result(d, c + v * lanes);
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
#endif

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
