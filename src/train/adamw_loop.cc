#include "train/adamw_loop.h"

#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train/adamw_loop.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lastbit::train::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Moments in memory: load(), and store(), which returns what the weights are moved by.
struct Fp32Moments {
  float* values;

  template <typename D>
  HWY_INLINE hn::Vec<D> load(D d, std::int64_t i) const {
    return hn::LoadU(d, values + i);
  }
  template <typename D>
  HWY_INLINE hn::Vec<D> store(D d, std::int64_t i, hn::Vec<D> value) const {
    hn::StoreU(value, d, values + i);
    return value;
  }
};

template <bool kUseRounded>
struct Bf16Moments {
  std::uint16_t* codes;

  template <typename D>
  HWY_INLINE hn::Vec<D> load(D d, std::int64_t i) const {
    const hn::RebindToUnsigned<D> words;
    const hn::Rebind<std::uint16_t, D> halves;
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(words, hn::LoadU(halves, codes + i))));
  }
  template <typename D>
  HWY_INLINE hn::Vec<D> store(D d, std::int64_t i, hn::Vec<D> value) const {
    const hn::RebindToUnsigned<D> words;
    const hn::RebindToSigned<D> integers;
    const hn::Rebind<std::uint16_t, D> halves;
    // To nearest even: half an ulp less one, and one more where the last kept bit is odd.
    const auto bits = hn::BitCast(words, value);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1));
    const auto high = hn::ShiftRight<16>(hn::Add(bits, hn::Add(hn::Set(words, 0x7fff), odd)));
    hn::StoreU(hn::DemoteTo(halves, hn::BitCast(integers, high)), halves, codes + i);
    return kUseRounded ? hn::BitCast(d, hn::ShiftLeft<16>(high)) : value;
  }
};

// The elements i, i + 1, ... that a vector of D holds; whether all of them are in bounds.
template <typename D, typename Moments>
HWY_INLINE hn::Mask<D> step_vector(D d, float* weights, const float* gradients, const Moments& first,
                                   const Moments& second, std::int64_t i, const AdamWFactors& f) {
  const auto g = hn::Mul(hn::LoadU(d, gradients + i), hn::Set(d, f.gradient_scale));
  const auto m = hn::Add(hn::Mul(hn::Set(d, f.beta1), first.load(d, i)), hn::Mul(hn::Set(d, f.one_less_beta1), g));
  const auto v =
      hn::Add(hn::Mul(hn::Set(d, f.beta2), second.load(d, i)), hn::Mul(hn::Mul(hn::Set(d, f.one_less_beta2), g), g));
  const auto used_m = first.store(d, i, m);
  const auto used_v = second.store(d, i, v);
  const auto spread = hn::Add(hn::Div(hn::Sqrt(used_v), hn::Set(d, f.second_correction)), hn::Set(d, f.epsilon));
  const auto move = hn::Div(hn::Mul(hn::Set(d, f.step_size), used_m), spread);
  const auto w = hn::Sub(hn::Mul(hn::LoadU(d, weights + i), hn::Set(d, f.decay)), move);
  hn::StoreU(w, d, weights + i);
  // Comparisons with a NaN are false.
  return hn::And(hn::Le(hn::Abs(g), hn::Set(d, f.largest_gradient)),
                 hn::Le(hn::Abs(w), hn::Set(d, std::numeric_limits<float>::max())));
}

template <typename Moments>
HWY_INLINE bool step_all(float* weights, const float* gradients, const Moments& first, const Moments& second,
                         std::int64_t count, const AdamWFactors& factors) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto sound = hn::FirstN(d, hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    sound = hn::And(sound, step_vector(d, weights, gradients, first, second, i, factors));
  bool tail_sound = true;
  for (; i < count; ++i)
    tail_sound = hn::AllTrue(one, step_vector(one, weights, gradients, first, second, i, factors)) && tail_sound;
  return hn::AllTrue(d, sound) && tail_sound;
}

bool fp32_loop(float* weights, const float* gradients, float* first, float* second, std::int64_t count,
               const AdamWFactors& factors) {
  return step_all(weights, gradients, Fp32Moments{first}, Fp32Moments{second}, count, factors);
}

bool bf16_loop(float* weights, const float* gradients, std::uint16_t* first, std::uint16_t* second, std::int64_t count,
               bool use_rounded, const AdamWFactors& factors) {
  if (use_rounded)
    return step_all(weights, gradients, Bf16Moments<true>{first}, Bf16Moments<true>{second}, count, factors);
  return step_all(weights, gradients, Bf16Moments<false>{first}, Bf16Moments<false>{second}, count, factors);
}

}  // namespace lastbit::train::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::train {

HWY_EXPORT(fp32_loop);
HWY_EXPORT(bf16_loop);

bool adamw_loop(float* weights, const float* gradients, float* first, float* second, std::int64_t count,
                const AdamWFactors& factors) {
  return HWY_DYNAMIC_DISPATCH(fp32_loop)(weights, gradients, first, second, count, factors);
}

bool adamw_loop_bf16(float* weights, const float* gradients, std::uint16_t* first, std::uint16_t* second,
                     std::int64_t count, bool use_rounded, const AdamWFactors& factors) {
  return HWY_DYNAMIC_DISPATCH(bf16_loop)(weights, gradients, first, second, count, use_rounded, factors);
}

}  // namespace lastbit::train
#endif  // HWY_ONCE
